# Entry of the repacked kernel (see quick-kernel.sh), in 32-bit protected mode
# at 1 MiB. Unpacks the LZ4 frame that follows this code to 16 MiB, where the
# kernel is linked to run, enters 64-bit mode and jumps to it as the kernel's own
# loader does: %rsi points to the boot parameters, low memory is mapped as is.

        .equ    KERNEL, 0x1000000
        .equ    PAGE_TABLES, 0xff8000   # 6 pages, between the packed kernel and KERNEL

        .code32
        .globl  _start
_start: cli
        cld
        movl    %esi, %ebp              # the boot parameters
        movl    $payload + 7, %esi      # after the frame's header
        movl    $KERNEL, %edi

block:  lodsl                           # its size in bytes; 0 ends the frame
        testl   %eax, %eax
        jz      unpacked
        jns     packed
        andl    $0x7fffffff, %eax       # stored as it is
        movl    %eax, %ecx
        rep movsb
        jmp     block
packed: leal    (%esi, %eax), %edx      # the end of the block
token:  xorl    %eax, %eax
        lodsb
        movl    %eax, %ebx
        movl    %eax, %ecx
        shrl    $4, %ecx                # count of literals
        cmpl    $15, %ecx
        jne     literals
more_literals:
        lodsb
        addl    %eax, %ecx
        cmpb    $255, %al
        je      more_literals
literals:
        rep movsb
        cmpl    %edx, %esi
        jae     block
        movl    %ebx, %ecx
        andl    $15, %ecx               # length of the match
        movzwl  (%esi), %ebx            # and how far back it lies
        addl    $2, %esi
        cmpl    $15, %ecx
        jne     match
        xorl    %eax, %eax
more_match:
        lodsb
        addl    %eax, %ecx
        cmpb    $255, %al
        je      more_match
match:  addl    $4, %ecx
        movl    %esi, %eax
        movl    %edi, %esi
        subl    %ebx, %esi
        rep movsb
        movl    %eax, %esi
        jmp     token

unpacked:                               # map the first 4 GiB in pages of 2 MiB
        movl    $PAGE_TABLES, %edi
        xorl    %eax, %eax
        movl    $0x800, %ecx
        rep stosl
        movl    $PAGE_TABLES + 0x1003, PAGE_TABLES
        movl    $PAGE_TABLES + 0x2003, PAGE_TABLES + 0x1000
        movl    $PAGE_TABLES + 0x3003, PAGE_TABLES + 0x1008
        movl    $PAGE_TABLES + 0x4003, PAGE_TABLES + 0x1010
        movl    $PAGE_TABLES + 0x5003, PAGE_TABLES + 0x1018
        movl    $0x83, %eax
        movl    $2048, %ecx
page:   movl    %eax, (%edi)
        movl    $0, 4(%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        loop    page

        movl    %cr4, %eax
        orl     $0x20, %eax             # PAE
        movl    %eax, %cr4
        movl    $PAGE_TABLES, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       # EFER
        rdmsr
        orl     $0x100, %eax            # LME
        wrmsr
        lgdt    descriptor
        movl    %cr0, %eax
        orl     $0x80000000, %eax       # PG
        movl    %eax, %cr0
        ljmp    $0x10, $long

        .code64
long:   movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    %ebp, %esi
        movl    $KERNEL, %eax
        jmp     *%rax

        .balign 8
table:  .quad   0, 0
        .quad   0x00af9a000000ffff      # 0x10: 64-bit code
        .quad   0x00cf92000000ffff      # 0x18: data
descriptor:
        .word   . - table - 1
        .long   table
        .balign 16
payload:
