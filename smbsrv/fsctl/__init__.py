"""File system controls, one a file; `table` lists them, `call` is what each is given and gives back.

Source: [MS-SMB2] 3.3.5.15 Receiving an SMB2 IOCTL Request; [MS-FSCC] 2.3 FSCTL Structures; [MS-FSA] 2.1.5.10
Server Requests an FsControl Request."""
