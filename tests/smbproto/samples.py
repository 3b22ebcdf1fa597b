"""One message of each class, and its bytes written by hand from the layout table of its section."""

from smbproto.codec import FileId
from smbproto.smb2 import (
    cancel,
    change_notify,
    close,
    contexts,
    create,
    echo,
    error,
    flush,
    header,
    ioctl,
    lock,
    logoff,
    negotiate,
    notification,
    oplock_break,
    query_directory,
    query_info,
    read,
    session_setup,
    set_info,
    transform,
    tree_connect,
    tree_disconnect,
    write,
)  # fmt: skip

G16 = "000102030405060708090a0b0c0d0e0f"
GUID = bytes.fromhex(G16)
KEY = bytes(range(16, 32))
KEY_HEX = KEY.hex()
ID = FileId(1, 0xAABB)
ID_HEX = "0100000000000000 bbaa000000000000"
TIMES = {"creation_time": 1, "last_access_time": 2, "last_write_time": 3, "change_time": 4}
TIMES_HEX = "0100000000000000 0200000000000000 0300000000000000 0400000000000000"

MESSAGES = [
    (
        negotiate.NegotiateRequest(
            dialects=(0x0202, 0x0311),
            security_mode=1,
            capabilities=0x7F,
            client_guid=GUID,
            contexts=(negotiate.NegotiateContext(2, b"\1\0\2\0"), negotiate.NegotiateContext(8, b"\1\0\1\0")),
        ),
        f"2400 0200 0100 0000 7f000000 {G16} 68000000 0200 0000 0202 1103"
        "0200 0400 00000000 01000200 00000000 0800 0400 00000000 01000100",
    ),
    (
        negotiate.NegotiateResponse(
            security_mode=3,
            dialect_revision=0x0311,
            server_guid=GUID,
            capabilities=0x2F,
            max_transact_size=0x800000,
            max_read_size=0x800000,
            max_write_size=0x800000,
            system_time=5,
            security_buffer=b"abc",
            contexts=(negotiate.NegotiateContext(2, b"\1\0\2\0"),),
        ),
        f"4100 0300 1103 0100 {G16} 2f000000 00008000 00008000 00008000 0500000000000000 0000000000000000"
        "8000 0300 88000000 616263 0000000000 0200 0400 00000000 01000200",
    ),
    (
        session_setup.SessionSetupRequest(
            flags=1, security_mode=2, capabilities=1, security_buffer=b"NTLM", previous_session_id=9
        ),
        "1900 01 02 01000000 00000000 5800 0400 0900000000000000 4e544c4d",
    ),
    (session_setup.SessionSetupResponse(session_flags=4, security_buffer=b"ok"), "0900 0400 4800 0200 6f6b"),
    (session_setup.SessionSetupResponse(), "0900 0000 4800 0000 00"),
    (logoff.LogoffRequest(), "0400 0000"),
    (logoff.LogoffResponse(), "0400 0000"),
    (
        tree_connect.TreeConnectRequest(path="\\\\s\\d"),
        "0900 0000 4800 0a00 5c00 5c00 7300 5c00 6400",
    ),
    (
        tree_connect.TreeConnectRequest(
            flags=4, path="\\\\s\\d", contexts=(tree_connect.TreeConnectContext(1, b"id"),)
        ),
        "0900 0400 5800 0a00 28000000 0100 00000000000000000000 5c00 5c00 7300 5c00 6400 000000000000"
        "0100 0200 00000000 6964",
    ),
    (
        tree_connect.TreeConnectResponse(
            share_type=1, share_flags=0x8000, capabilities=0x10, maximal_access=0x1F01FF
        ),
        "1000 01 00 00800000 10000000 ff011f00",
    ),
    (tree_disconnect.TreeDisconnectRequest(), "0400 0000"),
    (tree_disconnect.TreeDisconnectResponse(), "0400 0000"),
    (
        create.CreateRequest(
            requested_oplock_level=0xFF,
            desired_access=0x12019F,
            file_attributes=0x80,
            share_access=7,
            create_disposition=3,
            create_options=0x40,
            name="a\\b",
            contexts=(
                create.CreateContext(b"MxAc"),
                create.CreateContext(b"DHnQ", bytes(16)),
                create.CreateContext(contexts.SMB2_CREATE_APP_INSTANCE_ID, b"\x14\0\0\0" + KEY),
            ),
        ),
        "3900 00 ff 02000000 0000000000000000 0000000000000000 9f011200 80000000 07000000 03000000 40000000"
        "7800 0600 80000000 74000000 6100 5c00 6200 0000"
        "18000000 1000 0400 0000 0000 00000000 4d784163 00000000"
        "28000000 1000 0400 0000 1800 10000000 44486e51 00000000 00000000000000000000000000000000"
        f"00000000 1000 1000 0000 2000 14000000 45bca66aefa7f74a9008fa462e144d74 14000000 {KEY_HEX}",
    ),
    (
        create.CreateRequest(desired_access=0x80, create_disposition=1),
        "3900 00 00 02000000 0000000000000000 0000000000000000 80000000 00000000 00000000 01000000 00000000"
        "7800 0000 00000000 00000000 00",
    ),
    (
        create.CreateResponse(
            oplock_level=9,
            create_action=1,
            **TIMES,
            allocation_size=4096,
            end_of_file=10,
            file_attributes=0x20,
            file_id=ID,
            contexts=(create.CreateContext(b"QFid", bytes(8)),),
        ),
        f"5900 09 00 01000000 {TIMES_HEX} 0010000000000000 0a00000000000000 20000000 00000000 {ID_HEX}"
        "98000000 20000000 00000000 1000 0400 0000 1800 08000000 51466964 00000000 0000000000000000",
    ),
    (close.CloseRequest(flags=1, file_id=ID), f"1800 0100 00000000 {ID_HEX}"),
    (
        close.CloseResponse(flags=1, **TIMES, allocation_size=8, end_of_file=5, file_attributes=0x80),
        f"3c00 0100 00000000 {TIMES_HEX} 0800000000000000 0500000000000000 80000000",
    ),
    (flush.FlushRequest(file_id=ID), f"1800 0000 00000000 {ID_HEX}"),
    (flush.FlushResponse(), "0400 0000"),
    (
        read.ReadRequest(padding=0x50, flags=1, length=4096, offset=0x100000000, file_id=ID, minimum_count=1),
        f"3100 50 01 00100000 0000000001000000 {ID_HEX} 01000000 00000000 00000000 0000 0000 00",
    ),
    (
        read.ReadRequest(length=1, offset=0, file_id=ID, channel=1, remaining_bytes=2, channel_info=b"desc"),
        f"3100 00 00 01000000 0000000000000000 {ID_HEX} 00000000 01000000 02000000 7000 0400 64657363",
    ),
    (read.ReadResponse(data=b"hello"), "1100 50 00 05000000 00000000 00000000 68656c6c6f"),
    (read.ReadResponse(data_remaining=7), "1100 00 00 00000000 07000000 00000000"),
    (
        write.WriteRequest(data=b"hello", offset=16, file_id=ID, flags=1),
        f"3100 7000 05000000 1000000000000000 {ID_HEX} 00000000 00000000 0000 0000 01000000 68656c6c6f",
    ),
    (write.WriteResponse(count=5), "1100 0000 05000000 00000000 0000 0000 00"),
    (
        lock.LockRequest(
            locks=(lock.LockElement(1, 2, 0x12), lock.LockElement(3, 4, 4)), lock_sequence=0x11, file_id=ID
        ),
        f"3000 0200 11000000 {ID_HEX} 0100000000000000 0200000000000000 12000000 00000000"
        "0300000000000000 0400000000000000 04000000 00000000",
    ),
    (lock.LockResponse(), "0400 0000"),
    (echo.EchoRequest(), "0400 0000"),
    (echo.EchoResponse(), "0400 0000"),
    (cancel.CancelRequest(), "0400 0000"),
    (
        ioctl.IoctlRequest(ctl_code=0x11C017, file_id=ID, input=b"rpc", max_output_response=1024),
        f"3900 0000 17c01100 {ID_HEX} 78000000 03000000 00000000 00000000 00000000 00040000 01000000 00000000"
        "727063",
    ),
    (
        ioctl.IoctlResponse(ctl_code=0x11C017, file_id=ID, output=b"pc"),
        f"3100 0000 17c01100 {ID_HEX} 70000000 00000000 70000000 02000000 00000000 00000000 7063",
    ),
    (
        query_directory.QueryDirectoryRequest(
            file_information_class=37, flags=1, file_id=ID, file_name="*", output_buffer_length=65536
        ),
        f"2100 25 01 00000000 {ID_HEX} 6000 0200 00000100 2a00",
    ),
    (query_directory.QueryDirectoryResponse(output=b"abcd"), "0900 4800 04000000 61626364"),
    (
        change_notify.ChangeNotifyRequest(
            flags=1, output_buffer_length=32, file_id=ID, completion_filter=0x17
        ),
        f"2000 0100 20000000 {ID_HEX} 17000000 00000000",
    ),
    (change_notify.ChangeNotifyResponse(output=b"xy"), "0900 4800 02000000 7879"),
    (
        query_info.QueryInfoRequest(
            info_type=1,
            file_info_class=15,
            output_buffer_length=100,
            input=b"eas",
            additional_information=4,
            flags=1,
            file_id=ID,
        ),
        f"2900 01 0f 64000000 6800 0000 03000000 04000000 01000000 {ID_HEX} 656173",
    ),
    (query_info.QueryInfoResponse(output=b"zz"), "0900 4800 02000000 7a7a"),
    (
        set_info.SetInfoRequest(info_type=1, file_info_class=20, buffer=bytes(8), file_id=ID),
        f"2100 01 14 08000000 6000 0000 00000000 {ID_HEX} 0000000000000000",
    ),
    (set_info.SetInfoResponse(), "0200"),
    (oplock_break.OplockBreakNotification(oplock_level=1, file_id=ID), f"1800 01 00 00000000 {ID_HEX}"),
    (oplock_break.OplockBreakAcknowledgment(oplock_level=1, file_id=ID), f"1800 01 00 00000000 {ID_HEX}"),
    (oplock_break.OplockBreakResponse(oplock_level=0, file_id=ID), f"1800 00 00 00000000 {ID_HEX}"),
    (
        oplock_break.LeaseBreakNotification(
            new_epoch=2, flags=1, lease_key=KEY, current_lease_state=7, new_lease_state=3
        ),
        f"2c00 0200 01000000 {KEY_HEX} 07000000 03000000 00000000 00000000 00000000",
    ),
    (
        oplock_break.LeaseBreakAcknowledgment(lease_key=KEY, lease_state=3),
        f"2400 0000 00000000 {KEY_HEX} 03000000 0000000000000000",
    ),
    (
        oplock_break.LeaseBreakResponse(lease_key=KEY, lease_state=1),
        f"2400 0000 00000000 {KEY_HEX} 01000000 0000000000000000",
    ),
    (error.ErrorResponse(), "0900 00 00 00000000 00"),
    (error.ErrorResponse(error_data=b"\x10\0\0\0"), "0900 00 00 04000000 10000000"),
    (
        notification.ServerToClientNotification(),
        "0400 0000 00000000 00000000",
    ),
]

STRUCTURES = [
    (
        header.Header(
            credit_charge=1,
            status=0x00010002,
            command=5,
            credits=31,
            flags=0x18,
            next_command=0x98,
            message_id=7,
            tree_id=3,
            session_id=0x4000000000000009,
            signature=KEY,
        ),
        f"fe534d42 4000 0100 02000100 0500 1f00 18000000 98000000 0700000000000000 fffe0000 03000000"
        f"0900000000000040 {KEY_HEX}",
    ),
    (
        header.Header(
            status=0x103, command=0xF, credits=1, flags=3, message_id=8, process_id=0, async_id=0x100000002
        ),
        f"fe534d42 4000 0000 03010000 0f00 0100 03000000 00000000 0800000000000000 02000000 01000000"
        f"0000000000000000 {'00' * 16}",
    ),
    (
        transform.TransformHeader(signature=KEY, nonce=GUID, original_message_size=104, session_id=9),
        f"fd534d42 {KEY_HEX} {G16} 68000000 0000 0100 0900000000000000",
    ),
    (
        transform.CompressionTransformHeader(
            original_compressed_segment_size=4096, compression_algorithm=2, offset=16, payload=b"zz"
        ),
        "fc534d42 00100000 0200 0000 10000000 7a7a",
    ),
    (
        transform.CompressionChainedPayloadHeader(compression_algorithm=4, flags=1, length=8),
        "0400 0100 08000000",
    ),
    (transform.CompressionPatternPayload(pattern=0x41, repetitions=512), "41 00 0000 00020000"),
    (
        transform.RdmaTransform(
            rdma_descriptor_offset=16, rdma_descriptor_length=16, channel=1, transform_count=0, transforms=KEY
        ),
        f"1000 1000 01000000 0000 0000 00000000 {KEY_HEX}",
    ),
    (
        transform.RdmaCryptoTransform(transform_type=1, signature=KEY, nonce=bytes(11)),
        f"0100 1000 0b00 0000 {KEY_HEX} {'00' * 11}",
    ),
    (
        negotiate.PreauthIntegrityCapabilities(hash_algorithms=(1,), salt=b"salt"),
        "0100 0400 0100 73616c74",
    ),
    (negotiate.EncryptionCapabilities(ciphers=(2, 1)), "0200 0200 0100"),
    (negotiate.CompressionCapabilities(algorithms=(4, 3), flags=1), "0200 0000 01000000 0400 0300"),
    (negotiate.NetnameContext(net_name="ab"), "6100 6200"),
    (negotiate.TransportCapabilities(flags=1), "01000000"),
    (negotiate.RdmaTransformCapabilities(transform_ids=(1, 2)), "0200 0000 00000000 0100 0200"),
    (negotiate.SigningCapabilities(algorithms=(2, 1, 0)), "0300 0200 0100 0000"),
    (contexts.DurableHandleRequest(), "00" * 16),
    (contexts.DurableHandleResponse(), "00" * 8),
    (contexts.DurableHandleReconnect(file_id=ID), ID_HEX),
    (contexts.AllocationSize(allocation_size=65536), "0000010000000000"),
    (contexts.MaximalAccessRequest(timestamp=1), "0100000000000000"),
    (contexts.MaximalAccessResponse(maximal_access=0x1F01FF), "00000000 ff011f00"),
    (contexts.TimewarpToken(timestamp=2), "0200000000000000"),
    (contexts.OnDiskId(disk_file_id=5, volume_id=6), f"0500000000000000 0600000000000000 {'00' * 16}"),
    (contexts.Lease(lease_key=KEY, lease_state=7), f"{KEY_HEX} 07000000 00000000 0000000000000000"),
    (
        contexts.LeaseV2(lease_key=KEY, lease_state=5, lease_flags=4, parent_lease_key=GUID, epoch=2),
        f"{KEY_HEX} 05000000 04000000 0000000000000000 {G16} 0200 0000",
    ),
    (
        contexts.DurableHandleRequestV2(timeout_ms=60000, flags=2, create_guid=GUID),
        f"60ea0000 02000000 0000000000000000 {G16}",
    ),
    (contexts.DurableHandleResponseV2(timeout_ms=60000, flags=2), "60ea0000 02000000"),
    (contexts.DurableHandleReconnectV2(file_id=ID, create_guid=GUID, flags=2), f"{ID_HEX} {G16} 02000000"),
    (contexts.AppInstanceId(app_instance_id=KEY), f"1400 0000 {KEY_HEX}"),
    (
        contexts.AppInstanceVersion(app_instance_version_high=1, app_instance_version_low=2),
        "1800 0000 00000000 0100000000000000 0200000000000000",
    ),
    (
        error.SymbolicLinkError(unparsed_path_length=4, flags=1, substitute_name="ab", print_name="c"),
        "1e000000 53594d4c 0c0000a0 1200 0400 0000 0400 0400 0200 01000000 6100 6200 6300",
    ),
    (
        error.ShareRedirectError(
            structure_length=30,
            resource_name_offset=24,
            resource_name_length=2,
            ip_address_count=0,
            buffer=b"a\0",
        ),
        "1e000000 03000000 18000000 02000000 0000 0000 00000000 6100",
    ),
    (
        query_info.QueryQuotaInfo(return_single=1, sid_list_length=4, sids=b"sids"),
        "01 00 0000 04000000 00000000 00000000 73696473",
    ),
]
