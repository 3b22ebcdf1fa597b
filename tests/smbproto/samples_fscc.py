"""One structure of each class of [MS-FSCC], and its bytes written by hand from the layout table of its
section."""

from smbproto.codec import FileId
from smbproto.fscc import file_info, fsctl, volume
from tests.smbproto.samples import G16, GUID, ID, ID_HEX, KEY, KEY_HEX


def q(value: int) -> str:
    """64 bits, little-endian."""
    return value.to_bytes(8, "little", signed=value < 0).hex()


TIMES = {"creation_time": 1, "last_access_time": -1, "last_write_time": -2, "change_time": 0}
TIMES_HEX = q(1) + q(-1) + q(-2) + q(0)

STRUCTURES = [
    (file_info.FileAccessInformation(access_flags=0x1F01FF), "ff011f00"),
    (file_info.FileAlignmentInformation(alignment_requirement=7), "07000000"),
    (
        file_info.FileAllInformation(
            **TIMES,
            file_attributes=0x20,
            allocation_size=4096,
            end_of_file=5,
            number_of_links=2,
            delete_pending=1,
            directory=0,
            index_number=77,
            ea_size=8,
            access_flags=0x80,
            current_byte_offset=3,
            mode=2,
            alignment_requirement=0,
            file_name="\\a",
        ),
        f"{TIMES_HEX} 20000000 00000000 {q(4096)} {q(5)} 02000000 01 00 0000 {q(77)} 08000000 80000000 {q(3)}"
        "02000000 00000000 04000000 5c00 6100",
    ),
    (file_info.FileAllocationInformation(allocation_size=9), q(9)),
    (file_info.FileAlternateNameInformation(file_name="A"), "02000000 4100"),
    (
        file_info.FileAttributeTagInformation(file_attributes=0x400, reparse_tag=0xA000000C),
        "00040000 0c0000a0",
    ),
    (file_info.FileBasicInformation(**TIMES, file_attributes=1), f"{TIMES_HEX} 01000000 00000000"),
    (
        file_info.FileCompressionInformation(
            compressed_file_size=6,
            compression_format=2,
            compression_unit_shift=16,
            chunk_shift=12,
            cluster_shift=12,
        ),
        f"{q(6)} 0200 10 0c 0c 000000",
    ),
    (file_info.FileDispositionInformation(delete_pending=1), "01"),
    (file_info.FileDispositionInformationEx(flags=3), "03000000"),
    (file_info.FileEaInformation(ea_size=4), "04000000"),
    (file_info.FileEndOfFileInformation(end_of_file=-1), q(-1)),
    (file_info.FileIdInformation(volume_serial_number=3, file_id=KEY), f"{q(3)} {KEY_HEX}"),
    (file_info.FileInternalInformation(index_number=5), q(5)),
    (
        file_info.FileLinkInformation(replace_if_exists=1, file_name="b"),
        f"01 00000000000000 {q(0)} 02000000 6200",
    ),
    (file_info.FileModeInformation(mode=0x10), "10000000"),
    (file_info.FileNameInformation(file_name="\\x"), "04000000 5c00 7800"),
    (
        file_info.FileNetworkOpenInformation(**TIMES, allocation_size=1, end_of_file=2, file_attributes=0x80),
        f"{TIMES_HEX} {q(1)} {q(2)} 80000000 00000000",
    ),
    (
        file_info.FileObjectIdInformation(file_reference_number=1, object_id=GUID),
        f"{q(1)} {G16} {'00' * 48}",
    ),
    (file_info.FilePipeInformation(read_mode=1, completion_mode=0), "01000000 00000000"),
    (
        file_info.FilePipeLocalInformation(
            named_pipe_type=1,
            named_pipe_configuration=2,
            maximum_instances=3,
            current_instances=4,
            inbound_quota=5,
            read_data_available=6,
            outbound_quota=7,
            write_quota_available=8,
            named_pipe_state=9,
            named_pipe_end=10,
        ),
        "".join(f"{n:02x}000000" for n in range(1, 11)),
    ),
    (
        file_info.FilePipeRemoteInformation(collect_data_time=1, maximum_collection_count=2),
        f"{q(1)} 02000000",
    ),
    (file_info.FilePositionInformation(current_byte_offset=12), q(12)),
    (
        file_info.FileRenameInformation(replace_if_exists=0, file_name="d\\e"),
        f"00 00000000000000 {q(0)} 06000000 6400 5c00 6500",
    ),
    (
        file_info.FileRenameInformationEx(flags=3, file_name="e"),
        f"03000000 00000000 {q(0)} 02000000 6500",
    ),
    (file_info.FileReparsePointInformation(file_reference_number=1, tag=2), f"{q(1)} 02000000"),
    (
        file_info.FileSfioReserveInformation(
            requests_per_period=1,
            period=2,
            retry_failures=1,
            discardable=0,
            request_size=3,
            num_outstanding_requests=4,
        ),
        "01000000 02000000 01 00 0000 03000000 04000000",
    ),
    (file_info.FileShortNameInformation(file_name="A~1"), "06000000 4100 7e00 3100"),
    (
        file_info.FileStandardInformation(
            allocation_size=4096, end_of_file=9, number_of_links=1, delete_pending=0, directory=1
        ),
        f"{q(4096)} {q(9)} 01000000 00 01 0000",
    ),
    (
        file_info.FileStandardLinkInformation(
            number_of_accessible_links=1, total_number_of_links=2, delete_pending=0, directory=0
        ),
        "01000000 02000000 00 00 0000",
    ),
    (file_info.FileValidDataLengthInformation(valid_data_length=6), q(6)),
    (
        volume.FileFsAttributeInformation(
            file_system_attributes=0x4F, maximum_component_name_length=255, file_system_name="NTFS"
        ),
        "4f000000 ff000000 08000000 4e00 5400 4600 5300",
    ),
    (
        volume.FileFsControlInformation(file_system_control_flags=1),
        f"{q(0)} {q(0)} {q(0)} {q(-1)} {q(-1)} 01000000 00000000",
    ),
    (volume.FileFsDriverPathInformation(driver_in_path=0, driver_name="a"), "00 000000 02000000 6100"),
    (
        volume.FileFsFullSizeInformation(
            total_allocation_units=100,
            caller_available_allocation_units=50,
            actual_available_allocation_units=60,
            sectors_per_allocation_unit=8,
            bytes_per_sector=512,
        ),
        f"{q(100)} {q(50)} {q(60)} 08000000 00020000",
    ),
    (volume.FileFsLabelInformation(volume_label="L"), "02000000 4c00"),
    (volume.FileFsObjectIdInformation(object_id=GUID), G16 + "00" * 48),
    (
        volume.FileFsSectorSizeInformation(
            logical_bytes_per_sector=512,
            physical_bytes_per_sector_for_atomicity=4096,
            physical_bytes_per_sector_for_performance=4096,
            effective_physical_bytes_per_sector_for_atomicity=4096,
            flags=3,
        ),
        "00020000 00100000 00100000 00100000 03000000 00000000 00000000",
    ),
    (
        volume.FileFsSizeInformation(
            total_allocation_units=7,
            available_allocation_units=6,
            sectors_per_allocation_unit=8,
            bytes_per_sector=512,
        ),
        f"{q(7)} {q(6)} 08000000 00020000",
    ),
    (
        volume.FileFsVolumeInformation(
            volume_creation_time=1, volume_serial_number=0xDEADBEEF, volume_label="vol", supports_objects=1
        ),
        f"{q(1)} efbeadde 06000000 01 00 7600 6f00 6c00",
    ),
    (volume.FileFsDeviceInformation(device_type=7, characteristics=0x20), "07000000 20000000"),
    (fsctl.FileZeroData(file_offset=1, beyond_final_zero=2), q(1) + q(2)),
    (fsctl.AllocatedRangesInput(file_offset=3, length=4), q(3) + q(4)),
    (fsctl.AllocatedRanges(ranges=(fsctl.Range(0, 5), fsctl.Range(9, 1))), q(0) + q(5) + q(9) + q(1)),
    (fsctl.FileLevelTrimInput(ranges=(fsctl.Range(1, 2),)), f"00000000 01000000 {q(1)} {q(2)}"),
    (fsctl.FileLevelTrim(num_ranges_processed=1), "01000000"),
    (
        fsctl.DuplicateExtents(source_file_id=ID, source_file_offset=1, target_file_offset=2, byte_count=3),
        f"{ID_HEX} {q(1)} {q(2)} {q(3)}",
    ),
    (
        fsctl.DuplicateExtentsEx(
            source_file_id=FileId(1, 2), source_file_offset=1, target_file_offset=2, byte_count=3, flags=1
        ),
        f"{q(0x30)} {q(1)} {q(2)} {q(1)} {q(2)} {q(3)} 01000000 00000000",
    ),
    (
        fsctl.CopyChunkInput(source_key=bytes(24), chunks=(fsctl.CopyChunk(1, 2, 3),)),
        f"{'00' * 24} 01000000 00000000 {q(1)} {q(2)} 03000000 00000000",
    ),
    (
        fsctl.CopyChunkResponse(chunks_written=1, chunk_bytes_written=0, total_bytes_written=3),
        "01000000 00000000 03000000",
    ),
    (fsctl.ResumeKey(resume_key=b"k" * 24), f"{'6b' * 24} 00000000 00000000"),
    (
        fsctl.Snapshots(number_of_snapshots=1, number_of_snapshots_returned=1, array="a\0\0"),
        "01000000 01000000 06000000 6100 0000 0000",
    ),
    (fsctl.NetworkResiliencyInput(timeout_ms=1000), "e8030000 00000000"),
    (
        fsctl.ValidateNegotiateInput(capabilities=0x7F, guid=GUID, security_mode=1, dialects=(0x202, 0x302)),
        f"7f000000 {G16} 0100 0200 0202 0203",
    ),
    (
        fsctl.ValidateNegotiate(capabilities=1, guid=GUID, security_mode=3, dialect=0x302),
        f"01000000 {G16} 0300 0203",
    ),
    (fsctl.ObjectIdBuffer(object_id=GUID), G16 + "00" * 48),
    (fsctl.CompressionState(compression_state=2), "0200"),
    (
        fsctl.IntegrityInformation(
            checksum_algorithm=2, checksum_chunk_size_in_bytes=4096, cluster_size_in_bytes=4096
        ),
        "0200 0000 00000000 00100000 00100000",
    ),
    (fsctl.SetIntegrityInput(checksum_algorithm=0xFFFF, flags=1), "ffff 0000 01000000"),
    (
        fsctl.SetIntegrityExInput(enable_integrity=1, keep_integrity_state_unchanged=0, flags=1),
        "01 00 0000 01000000 01 00000000000000",
    ),
    (fsctl.PipeWaitInput(timeout=-5, name="p", timeout_specified=1), f"{q(-5)} 02000000 01 00 7000"),
    (
        fsctl.PipePeek(
            named_pipe_state=3, read_data_available=2, number_of_messages=1, message_length=2, data=b"ab"
        ),
        "03000000 02000000 01000000 02000000 6162",
    ),
    (fsctl.FileRegionInput(file_offset=0, length=9, desired_usage=1), f"{q(0)} {q(9)} 01000000 00000000"),
    (
        fsctl.FileRegions(total_region_entry_count=1, regions=(fsctl.Region(0, 9, 1),)),
        f"00000000 01000000 01000000 00000000 {q(0)} {q(9)} 01000000 00000000",
    ),
    (fsctl.RetrievalPointersInput(starting_vcn=4), q(4)),
    (
        fsctl.RetrievalPointers(extents=(fsctl.RetrievalExtent(8, -1),), starting_vcn=0),
        f"01000000 00000000 {q(0)} {q(8)} {q(-1)}",
    ),
    (
        fsctl.NtfsVolumeData(
            volume_serial_number=1,
            number_sectors=2,
            total_clusters=3,
            free_clusters=4,
            bytes_per_sector=512,
            bytes_per_cluster=4096,
            bytes_per_file_record_segment=1024,
            clusters_per_file_record_segment=0,
        ),
        f"{q(1)} {q(2)} {q(3)} {q(4)} {q(0)} 00020000 00100000 00040000 00000000 {q(0) * 5}",
    ),
    (
        fsctl.OffloadReadInput(file_offset=1, copy_length=2),
        f"20000000 00000000 00000000 00000000 {q(1)} {q(2)}",
    ),
    (fsctl.OffloadRead(transfer_length=1, token=bytes(512)), f"10020000 00000000 {q(1)} {'00' * 512}"),
    (
        fsctl.OffloadWriteInput(file_offset=1, copy_length=2, transfer_offset=3, token=bytes(512)),
        f"20020000 00000000 {q(1)} {q(2)} {q(3)} {'00' * 512}",
    ),
    (fsctl.OffloadWrite(length_written=5), f"10000000 00000000 {q(5)}"),
    (fsctl.DfsReferralInput(max_referral_level=4, request_file_name="\\s\0"), "0400 5c00 7300 0000"),
]
