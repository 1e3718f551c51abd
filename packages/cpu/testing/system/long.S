# Long mode: IDT with IST, page faults, SYSCALL and SYSENTER, IRET and far transfers between 64-bit and compatibility
# mode, control registers and MSRs, SMEP, SMAP, UMIP, FSGSBASE.
.include "macros.S"
START
  cli
  lgdtl gdtr - image
  mov %cr0, %eax
  or $1, %al
  mov %eax, %cr0
  ljmpl $CODE32, $(protected - image + BASE)

.set CODE64, 0x08
.set DATA0, 0x10
.set CODE32U, 0x1b
.set DATA3, 0x23
.set CODE64U, 0x2b
.set CODE32, 0x30
.set TSS, 0x38
.set GATE, 0x48
.set CONFORMING, 0x58
.set BOTH, 0x60
.set ABSENT, 0x68
.set GATESHORT, 0x78
.set LDT, 0x88
.set FSSEG, 0x98
.set GATE32, 0xa0
.set LDTUSER, 0xb0
.set A, BASE
# Pages with something special, all in the table for 0x200000.
.set ABSENTPAGE, 0x200000
.set READPAGE, 0x201000
.set USERPAGE, 0x202000
.set NXPAGE, 0x203000
.set RESERVEDPAGE, 0x204000
.set USERREAD, 0x205000

.code32
LOG32

protected:
  mov $DATA0, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $0x9f000, %esp
  # Page tables at 0x80000: PML4, PDPT, PD, PT for 2 MiB upwards. The first 2 MiB are for everybody.
  mov $0x80000, %edi
  xor %eax, %eax
  mov $0x1400, %ecx
  rep stosl
  movl $0x81007, 0x80000
  movl $0x82007, 0x81000
  movl $0xe7, 0x82000
  movl $0x83007, 0x82008
  movl $0x201001, 0x83008
  movl $0x202007, 0x83010
  movl $0x203007, 0x83018
  movl $0x80000000, 0x8301c
  movl $0x204007, 0x83020
  movl $0x00080000, 0x83024
  movl $0x205005, 0x83028
  movl $0x206007, 0x83030
  mov $0x80000, %eax
  mov %eax, %cr3
  mov $0x20, %eax
  mov %eax, %cr4
  mov $0xc0000080, %ecx
  xor %edx, %edx
  mov $0x900, %eax
  wrmsr
  mov %cr0, %eax
  or $0x80010000, %eax
  mov %eax, %cr0
  ljmpl $CODE64, $long + A

.code64
# The log functions of 64-bit code.
lputs:
  xchg %rsi, (%rsp)
  push %rax
1: mov (%rsi), %al
  inc %rsi
  test %al, %al
  jz 2f
  out %al, $LOG
  jmp 1b
2: pop %rax
  xchg %rsi, (%rsp)
  ret
lhex64: # rax
  push %rcx
  mov $16, %ecx
  jmp 1f
lhex32:
  push %rcx
  shl $32, %rax
  mov $8, %ecx
  jmp 1f
lhex16:
  push %rcx
  shl $48, %rax
  mov $4, %ecx
1: push %rdx
  mov %rax, %rdx
2: rol $4, %rdx
  mov %dl, %al
  and $15, %al
  cmp $10, %al
  jb 3f
  add $39, %al
3: add $48, %al
  out %al, $LOG
  dec %ecx
  jnz 2b
  mov $32, %al
  out %al, $LOG
  pop %rdx
  pop %rcx
  ret
newline:
  push %rax
  mov $10, %al
  out %al, $LOG
  pop %rax
  ret
.macro LSAY text
  call lputs
  .asciz "\text"
.endm
.macro TEST name
  movl $9f + A, resume + A
  LSAY "\name: "
.endm
.macro END
  LSAY "ok"
9:
  call newline
.endm
.macro TEST3 name, flags=0x2, cs=CODE64U
  movl $9f + A, resume + A
  LSAY "\name: "
  pushq $DATA3
  pushq $stack3 + A
  pushq $\flags
  pushq $\cs
  pushq $8f + A
  iretq
8:
.endm
.macro END3
  LSAY "ok3"
  int $0x40
9:
  call newline
.endm
# Compatibility mode at level 3.
.macro TESTC name
  TEST3 "\name", 0x2, CODE32U
  .code32
.endm
.macro ENDC
  SAY "okc"
  int $0x40
  .code64
9:
  call newline
.endm

long:
  lidt idtr + A
  mov $stack0 + A, %rsp
  xor %eax, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov %eax, %fs
  mov %eax, %gs
  mov $TSS, %eax
  ltr %ax

  TEST "divide"
    xor %ecx, %ecx
    div %ecx
  END
  TEST "int3"
    int3
  END
  TEST "ud2"
    ud2
  END
  TEST "int 40"
    int $0x40
  END
  TEST "int ist"
    int $0x41
  END
  TEST "int unaligned"
    push %rax
    int $0x40
  END
  TEST "int 32-bit segment"
    int $0x42
  END
  TEST "int 16-bit gate"
    int $0x43
  END
  TEST "int non-canonical"
    int $0x44
  END
  TEST "int absent"
    int $0x45
  END
  TEST "int conforming"
    int $0x46
  END
  TEST "int beyond idt"
    int $0x80
  END
  TEST "single step"
    pushfq
    orq $0x100, (%rsp)
    popfq
    nop
  END
  TEST "non-canonical data"
    mov $0x800000000000, %rax
    mov (%rax), %rax
  END
  TEST "non-canonical stack"
    mov $0x800000000000, %rbp
    mov (%rbp), %rax
  END
  TEST "non-canonical push"
    mov $0x800000000000, %rax
    mov %rsp, %rbx
    mov %rax, %rsp
    push %rax
  END
  TEST "non-canonical jump"
    mov $0x800000000000, %rax
    jmp *%rax
  END
  TEST "non-canonical ret"
    mov $0x800000000000, %rax
    push %rax
    ret
  END

  # Paging.
  TEST "page absent"
    mov ABSENTPAGE + 0x123, %eax
  END
  TEST "page absent write"
    mov %eax, ABSENTPAGE + 0x123
  END
  TEST "page read-only"
    mov READPAGE, %eax
    mov %eax, READPAGE + 8
  END
  TEST "page read-only without wp"
    mov %cr0, %rax
    and $~0x10000, %rax
    mov %rax, %cr0
    mov %eax, READPAGE + 8
    mov %cr0, %rax
    or $0x10000, %rax
    mov %rax, %cr0
    mov 0x83008, %eax
    call lhex32
  END
  TEST "page crossing"
    mov %eax, READPAGE + 0xffe
  END
  TEST "page accessed"
    mov 0x83010, %eax
    call lhex32
    mov USERPAGE, %al
    mov 0x83010, %eax
    call lhex32
    mov %al, USERPAGE
    mov 0x83010, %eax
    call lhex32
  END
  TEST "page nx"
    mov $NXPAGE, %eax
    movb $0xc3, (%rax)
    call *%rax
  END
  TEST "page reserved"
    mov RESERVEDPAGE, %eax
  END
  TEST "page reserved high"
    mov $0x40000000, %eax
    movl $0x87, 0x81008
    mov (%rax), %al
    movl $0x2087, 0x81008
    invlpg (%rax)
    mov (%rax), %al
  END
  movl $0, 0x81008
  TEST3 "user supervisor page"
    mov READPAGE, %eax
  END3
  TEST3 "user write read-only"
    mov USERREAD, %eax
    mov %eax, USERREAD
  END3
  TEST3 "user fetch"
    mov $READPAGE, %eax
    jmp *%rax
  END3
  TEST3 "user fetch nx"
    mov $NXPAGE, %eax
    jmp *%rax
  END3
  # SMEP and SMAP. The code itself must lie in a supervisor page then: use the table of 2 MiB for user data.
  movl $0xe3, 0x82000
  mov %cr4, %rax
  or $0x300000, %rax
  mov %rax, %cr4
  TEST "smap read"
    mov USERPAGE, %eax
  END
  TEST "smap stac"
    stac
    mov USERPAGE, %eax
    clac
    mov USERPAGE, %eax
  END
  TEST "smep"
    stac
    mov $USERPAGE, %eax
    movb $0xc3, (%rax)
    clac
    call *%rax
  END
  TEST "smap descriptor table"
    mov $LDTUSER, %eax
    lldt %ax
    stac
    mov $4, %eax
    mov %eax, %es
  END
  clac
  mov %cr4, %rax
  and $~0x300000, %rax
  mov %rax, %cr4
  movl $0xe7, 0x82000
  mov %cr3, %rax
  mov %rax, %cr3

  # Segments.
  TEST "fs base"
    mov $FSSEG, %eax
    mov %eax, %fs
    mov $0xc0000100, %ecx
    rdmsr
    call lhex32
    mov %fs:4, %eax
    call lhex32
    mov $1, %edx
    xor %eax, %eax
    wrmsr
    xor %eax, %eax
    mov %eax, %fs
    rdmsr
    call lhex32
    mov %edx, %eax
    call lhex32
  END
  TEST "fs base non-canonical"
    mov $0xc0000100, %ecx
    mov $0x8000, %edx
    wrmsr
  END
  TEST "swapgs"
    mov $0xc0000101, %ecx
    mov $0x1234, %eax
    xor %edx, %edx
    wrmsr
    mov $0xc0000102, %ecx
    mov $0x5678, %eax
    wrmsr
    swapgs
    rdmsr
    call lhex32
    mov $0xc0000101, %ecx
    rdmsr
    call lhex32
  END
  TEST "rdfsbase off"
    rdfsbase %rax
  END
  mov %cr4, %rax
  or $0x10000, %rax
  mov %rax, %cr4
  TEST "fsgsbase"
    mov $0x123456789abc, %rax
    bswap %rax
    shr $16, %rax
    mov $0x7edcba987654, %rax
    wrfsbase %rax
    rdfsbase %rax
    call lhex64
    mov $0x11111111, %eax
    wrgsbase %eax
    rdgsbase %rax
    call lhex64
    mov $0x800000000000, %rax
    wrgsbase %rax
  END
  xor %eax, %eax
  wrgsbase %rax
  wrfsbase %rax
  TEST "ss null rpl"
    mov $3, %eax
    mov %eax, %ss
  END
  TEST "es bad"
    mov $TSS, %eax
    mov %eax, %es
  END
  TEST "lldt"
    mov $LDT, %eax
    lldt %ax
    sldt %eax
    call lhex32
    mov $4, %eax
    mov %eax, %es
  END
  TEST "lar lsl"
    mov $TSS, %ecx
    lar %ecx, %eax
    setz %bl
    call lhex32
    mov %ebx, %eax
    and $1, %eax
    call lhex16
    mov $GATE, %ecx
    lar %ecx, %eax
    setz %bl
    call lhex32
    mov $TSS, %ecx
    lsl %ecx, %eax
    call lhex32
    mov $CODE64U, %ecx
    lar %rcx, %rax
    call lhex64
  END
  TEST "ltr busy"
    mov $TSS, %eax
    ltr %ax
  END
  TEST "lgdt non-canonical"
    lgdt gdtr_bad + A
  END
  TEST "sgdt"
    sgdt scratch + A
    mov scratch + 2 + A, %rax
    call lhex64
  END

  # Far transfers.
  TEST "far jump"
    rex.w ljmp *far64 + A
  far64_target: mov %cs, %eax
    call lhex16
  END
  TEST "far call"
    mov %rsp, %rbx
    rex.w lcall *farcall + A
    mov %rsp, %rax
    sub %rbx, %rax
    call lhex64
  END
  TEST "far call gate"
    mov %rsp, %rbx
    lcall *fargate + A
    mov %rsp, %rax
    sub %rbx, %rax
    call lhex64
  END
  TEST "far jump gate beyond"
    ljmp *fargateshort + A
  END
  TEST "far call 32-bit gate segment"
    lcall *fargate32 + A
  END
  TEST "far jump both"
    ljmp *farboth + A
  END
  TEST "far jump tss"
    ljmp *fartss + A
  END
  TEST "far jump non-canonical"
    rex.w ljmp *farbad + A
  END
  TEST "to compatibility and back"
    ljmp *far32 + A
  .code32
  far32_target: mov %cs, %eax
    call hex16
    ljmp $CODE64, $8f + A
  .code64
  8:
  END
  TEST "retf"
    pushq $CODE64
    pushq $7f + A
    lretq
  7:
  END
  TEST "retf to level 3"
    pushq $DATA3
    pushq $stack3 + A
    pushq $CODE64U
    pushq $7f + A
    lretq
  7: mov %ss, %eax
    call lhex16
    int $0x40
  END
  TEST "retf null ss level 3"
    pushq $3
    pushq $stack3 + A
    pushq $CODE64U
    pushq $7f + A
    lretq
  7:
  END

  # IRET.
.macro FRAME ss, rsp, flags, cs, rip
  mov $\rsp, %rax
  pushq $\ss
  push %rax
  pushq $\flags
  pushq $\cs
  mov $\rip, %rax
  push %rax
.endm
  TEST "iretq same"
    mov %rsp, %rbx
    FRAME 0, stack2 + A, 0x202, CODE64, 7f + A
    iretq
  7: mov %rsp, %rax
    sub $stack2 + A, %rax
    call lhex64
    pushfq
    pop %rax
    call lhex64
    cli
    mov %rbx, %rsp
  END
  TEST "iretq ss rpl"
    FRAME 3, stack2 + A, 2, CODE64, 7f + A
    iretq
  7: mov %ss, %eax
    call lhex16
  END
  TEST "iretq ss"
    FRAME DATA0, stack2 + A, 2, CODE64, 7f + A
    iretq
  7: mov %ss, %eax
    call lhex16
  END
  TEST "iretq non-canonical"
    FRAME 0, stack2 + A, 2, CODE64, 0x800000000000
    iretq
  7:
  END
  TEST "iretq non-canonical level 3"
    FRAME DATA3, stack2 + A, 2, CODE64U, 0x800000000000
    iretq
  7:
  END
  TEST "iretq null ss level 3"
    FRAME 3, stack2 + A, 2, CODE64U, 7f + A
    iretq
  7:
  END
  TEST "iretq null ss compatibility"
    FRAME 0, stack2 + A, 2, CODE32, 7f + A
    iretq
  7:
  END
  TEST "iretq absent cs"
    FRAME DATA0, stack2 + A, 2, ABSENT, 7f + A
    iretq
  7:
  END
  TEST "iretq nested"
    pushfq
    orq $0x4000, (%rsp)
    popfq
    FRAME DATA0, stack2 + A, 2, CODE64, 7f + A
    iretq
  7:
  END
  TEST "iretd"
    push $0
    sub $16, %rsp
    movl $7f + A, (%rsp)
    movl $CODE64, 4(%rsp)
    movl $2, 8(%rsp)
    movl $stack2 + A, 12(%rsp)
    movl $DATA0, 16(%rsp)
    iretl
  7: mov %rsp, %rax
    sub $stack2 + A, %rax
    call lhex64
  END

  # Level 3.
  TEST3 "level 3"
    mov %ds, %eax
    call lhex16
    mov %cs, %eax
    call lhex16
    mov %ss, %eax
    call lhex16
  END3
  TEST3 "level 3 divide"
    xor %ecx, %ecx
    div %ecx
  END3
  TEST3 "level 3 int 41 ist"
    int $0x41
  END3
  TEST3 "level 3 cli"
    cli
  END3
  TEST3 "level 3 mov cr8"
    mov %cr8, %rax
  END3
  TEST3 "level 3 swapgs"
    swapgs
  END3
  TEST3 "level 3 clac"
    clac
  END3
  TEST3 "level 3 sidt allowed"
    sidt stack3 + A
    mov stack3 + 2 + A, %rax
    call lhex64
  END3
  mov %cr4, %rax
  or $0x804, %rax
  mov %rax, %cr4
  TEST3 "level 3 sidt"
    sidt stack3 + A
  END3
  TEST3 "level 3 smsw"
    smsw %eax
  END3
  TEST3 "level 3 str"
    str %eax
  END3
  TEST3 "level 3 rdtsc"
    rdtsc
  END3
  mov %cr4, %rax
  and $~0x804, %rax
  mov %rax, %cr4
  TEST3 "level 3 rdpmc"
    rdpmc
  END3
  TEST3 "level 3 rdmsr"
    rdmsr
  END3
  TEST3 "level 3 call gate"
    lcall *fargate + A
    mov %ss, %eax
    call lhex16
  END3
  TEST3 "level 3 breakpoint"
    int3
  END3
  TEST3 "level 3 wrfsbase"
    mov $0x1000, %eax
    wrfsbase %rax
    rdfsbase %rax
    call lhex64
  END3

  # Compatibility mode.
  TESTC "compatibility"
    mov %cs, %eax
    call hex16
    mov %esp, %eax
    sub $stack3 + A, %eax
    call hex32
  ENDC
  TESTC "compatibility divide"
    xor %ecx, %ecx
    div %ecx
  ENDC
  TESTC "compatibility int 41"
    int $0x41
  ENDC
  TESTC "compatibility far to 64"
    ljmp $CODE64U, $8f + A
  .code64
  8: mov %cs, %eax
    call lhex16
    rex.w ljmp *far32u + A
  .code32
  far32u_target:
    mov %cs, %eax
    call hex16
  ENDC
  TESTC "compatibility call gate"
    lcall $GATE, $0
  ENDC
  TESTC "compatibility syscall without sce"
    syscall
  ENDC
  TESTC "compatibility into"
    mov $0x7f, %al
    inc %al
    into
  ENDC
  TESTC "compatibility page fault"
    mov ABSENTPAGE + 4, %eax
  ENDC
  TESTC "compatibility sgdt"
    sgdt stack3 + A
    mov stack3 + 2 + A, %eax
    call hex32
  ENDC

  # System calls.
  TEST3 "syscall off"
    syscall
  END3
  TEST "sysret off"
    sysretq
  END
  mov $0xc0000080, %ecx
  rdmsr
  or $1, %eax
  wrmsr
  mov $0xc0000081, %ecx
  xor %eax, %eax
  mov $((CODE32U & ~3) << 16) + CODE64, %edx
  wrmsr
  mov $0xc0000082, %ecx
  mov $syscall_entry + A, %eax
  xor %edx, %edx
  wrmsr
  mov $0xc0000084, %ecx
  mov $0x700, %eax
  wrmsr
  TEST3 "syscall", 0x246
    mov $0x1234, %eax
    std
    syscall
  syscall_return:
    mov %cs, %eax
    call lhex16
    mov %ss, %eax
    call lhex16
    pushfq
    pop %rax
    call lhex64
    cld
    mov %rcx, %rax
    sub $syscall_return + A, %rax
    call lhex64
  END3
  TEST3 "syscall single step", 0x102
    syscall
    nop
  END3
  TESTC "compatibility syscall"
    syscall
  ENDC
  TEST "sysret to compatibility"
    mov $7f + A, %ecx
    mov $0x2, %r11d
    mov $stack3 + A, %esp
    sysretl
  .code32
  7: mov %cs, %eax
    call hex16
    mov %ss, %eax
    call hex16
    int $0x40
  .code64
  END
  TEST "sysret non-canonical"
    mov $0x800000000000, %rcx
    mov $0x2, %r11d
    sysretq
  END
  TEST "sysret rflags"
    mov $7f + A, %ecx
    mov $-1, %r11
    and $~0x100, %r11
    mov $stack3 + A, %rsp
    sysretq
  7: pushfq
    pop %rax
    call lhex64
    pushq $2
    popfq
    int $0x40
  END
  TEST "sysenter null"
    sysenter
  END
  mov $0x174, %ecx
  mov $CODE64, %eax
  xor %edx, %edx
  wrmsr
  mov $0x175, %ecx
  mov $stack0 + A, %eax
  wrmsr
  mov $0x176, %ecx
  mov $sysenter_entry + A, %eax
  wrmsr
  TEST3 "sysenter"
    sysenter
  after_sysenter:
    mov %cs, %eax
    call lhex16
    mov %ss, %eax
    call lhex16
  END3
  TEST "sysexit non-canonical"
    mov $0x800000000000, %rdx
    mov $stack3 + A, %ecx
    sysexitq
  END

  # Control registers and MSRs.
  TEST "cr0 high"
    mov $0x180050011, %rax
    mov %rax, %cr0
  END
  TEST "cr0 without pg in 64-bit mode"
    mov %cr0, %rax
    btr $31, %rax
    mov %rax, %cr0
  END
  TEST "cr4 without pae"
    mov %cr4, %rax
    and $~0x20, %rax
    mov %rax, %cr4
  END
  TEST "cr4 reserved"
    mov %cr4, %rax
    bts $63, %rax
    mov %rax, %cr4
  END
  TEST "cr3 reserved"
    mov $0x8000000000080000, %rax
    mov %rax, %cr3
  END
  TEST "cr8"
    mov $5, %eax
    mov %rax, %cr8
    xor %eax, %eax
    mov %cr8, %rax
    call lhex64
    xor %eax, %eax
    mov %rax, %cr8
    mov $16, %eax
    mov %rax, %cr8
  END
  TEST "cr9"
    .byte 0x44, 0x0f, 0x20, 0xc8
  END
  TEST "pcid with cr3"
    mov $0x80001, %eax
    mov %rax, %cr3
    mov %cr4, %rax
    or $0x20000, %rax
    mov %rax, %cr4
  END
  mov $0x80000, %eax
  mov %rax, %cr3
  TEST "pcid"
    mov %cr4, %rax
    or $0x20000, %rax
    mov %rax, %cr4
    mov $0x8000000000080003, %rax
    mov %rax, %cr3
    mov %cr3, %rax
    call lhex64
    mov $0, %eax
    invpcid invpcid_good + A, %rax
    mov $1, %eax
    invpcid invpcid_good + A, %rax
    mov $2, %eax
    invpcid invpcid_good + A, %rax
    mov %cr0, %rax
    mov $4, %eax
    invpcid invpcid_good + A, %rax
  END
  TEST "invpcid reserved"
    mov $0, %eax
    invpcid invpcid_bad + A, %rax
  END
  TEST "invpcid non-canonical"
    mov $0, %eax
    invpcid invpcid_address + A, %rax
  END
  mov $0x80000, %eax
  mov %rax, %cr3
  mov %cr4, %rax
  and $~0x20000, %rax
  mov %rax, %cr4
  TEST "invpcid without pcids"
    mov $1, %eax
    invpcid invpcid_good + A, %rax
  END
  TEST "efer reserved"
    mov $0xc0000080, %ecx
    rdmsr
    or $2, %eax
    wrmsr
  END
  TEST "efer lme with paging"
    mov $0xc0000080, %ecx
    rdmsr
    call lhex32
    rdmsr
    and $~0x100, %eax
    wrmsr
  END
  TEST "lstar non-canonical"
    mov $0xc0000082, %ecx
    mov $0x8000, %edx
    wrmsr
  END
  TEST "sysenter eip non-canonical"
    mov $0x176, %ecx
    mov $0x8000, %edx
    wrmsr
  END
  TEST "pat"
    mov $0x277, %ecx
    rdmsr
    call lhex32
    mov %edx, %eax
    call lhex32
    mov $0x00070106, %eax
    mov %eax, %edx
    wrmsr
    rdmsr
    call lhex32
    mov $0x02, %eax
    wrmsr
  END
  TEST "dr7 high"
    mov $0x100000400, %rax
    mov %rax, %dr7
  END
  TEST "dr8"
    .byte 0x44, 0x0f, 0x21, 0xc0
  END
  TEST "tsc"
    mov $0x10, %ecx
    mov $0x100, %edx
    xor %eax, %eax
    wrmsr
    rdtsc
    mov %edx, %eax
    call lhex32
    mov $0xc0000103, %ecx
    mov $0x77, %eax
    xor %edx, %edx
    wrmsr
    rdtscp
    mov %ecx, %eax
    call lhex32
  END

  # A double fault on its own stack: the stack of level 0 cannot be used.
  mov $0x800000000000, %rax
  mov %rax, tss + 4 + A
  TEST3 "inner stack non-canonical"
    ud2
  END3
  TEST3 "double fault"
    xor %ecx, %ecx
    div %ecx
  END3
  movl $stack0 + A, tss + 4 + A
  movl $0, tss + 8 + A
  TEST3 "inner stack absent page"
    nop
  END3
  movl $ABSENTPAGE + 0x1000 + 8, tss + 4 + A
  TEST3 "double fault by page faults"
    mov ABSENTPAGE, %eax
  END3
  movl $stack0 + A, tss + 4 + A

  # Leave long mode: from compatibility mode at level 0.
  LSAY "leave: "
  ljmp *farleave + A
.code32
leave_long:
  mov $DATA0, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov %cr0, %eax
  btr $31, %eax
  mov %eax, %cr0
  jmp 1f
1: mov $0xc0000080, %ecx
  rdmsr
  call hex32
  rdmsr
  and $~0x100, %eax
  wrmsr
  rdmsr
  call hex32
  # PAE paging with the same directory; a reserved bit in a PDPTE faults at once.
  movl $0x82001, 0x84000
  movl $0, 0x84004
  movl $0, 0x84008
  movl $0, 0x84010
  movl $0, 0x84018
  mov $0x84000, %eax
  mov %eax, %cr3
  mov %cr0, %eax
  bts $31, %eax
  mov %eax, %cr0
  mov 0x202000, %eax
  SAY "pae "
  lidt idtr32 + A
  movl $7f + A, resume + A
  mov ABSENTPAGE, %eax
7: movl $7f + A, resume + A
  movl $0x82003, 0x84000
  mov $0x84000, %eax
  mov %eax, %cr3
7: SAY " end"
  call newline32
  mov $0x31, %al
  out %al, $0xf4
  cli
  hlt
newline32:
  mov $10, %al
  out %al, $LOG
  ret

handler32_14:
  SAY "#pf "
  pop %eax
  call hex32
  mov %cr2, %eax
  call hex32
  jmp 1f
handler32_13:
  SAY "#gp "
  pop %eax
  call hex32
1: pop %eax
  sub $A, %eax
  call hex32
  add $8, %esp
  jmp *resume + A

.code64
syscall_entry:
  mov %cs, %eax
  call 1f
  pushfq
  pop %rax
  call 2f
  mov %r11, %rax
  call 2f
  mov $stack0 + A, %rsp
  sysretq
1: mov %rsp, %r8
  mov $stack0 + A, %rsp
  call lhex16
  jmp *(%r8)
2: mov %rsp, %r8
  mov $stack2 + A, %rsp
  push %r8
  call lhex64
  pop %rsp
  ret
sysenter_entry:
  mov %cs, %eax
  call lhex16
  mov %ss, %eax
  call lhex16
  pushfq
  pop %rax
  call lhex64
  mov $after_sysenter + A, %edx
  mov $stack3 + A, %ecx
  sysexitq

far_function:
  mov %cs, %eax
  call lhex16
  rex.w lret
gate_function:
  mov %cs, %eax
  call lhex16
  mov %ss, %eax
  call lhex16
  mov %rsp, %rax
  and $0xfff, %eax
  call lhex64
  mov 8(%rsp), %rax
  call lhex64
  rex.w lret

.macro HANDLER n, code
handler_\n:
  .if \code == 0
  pushq $0xeeee
  .endif
  pushq $\n
  jmp common
.endm
.irp n, 0,1,2,3,4,5,6,7,9,15,16,18,19,20,64,65
HANDLER \n, 0
.endr
.irp n, 8,10,11,12,13,14,17
HANDLER \n, 1
.endr
common:
  push %rax
  cld
  mov 8(%rsp), %rax
  LSAY "#"
  call lhex16
  mov 16(%rsp), %rax
  call lhex32
  mov 32(%rsp), %rax
  call lhex16
  mov 24(%rsp), %rax
  call lhex64
  mov 40(%rsp), %rax
  and $~0xd5, %rax
  call lhex64
  mov 48(%rsp), %rax
  call lhex64
  mov 56(%rsp), %rax
  call lhex64
  mov %rsp, %rax
  and $0xfff, %eax
  call lhex16
  mov %ss, %eax
  call lhex16
  pushfq
  pop %rax
  and $~0xd5, %rax
  call lhex64
  cmpq $14, 8(%rsp)
  jne 1f
  mov %cr2, %rax
  call lhex64
1: cmpq $1, 8(%rsp)
  jne 2f
  mov %dr6, %rax
  call lhex32
2: mov $stack0 + A, %rsp
  xor %eax, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  pushq $2
  popfq
  mov resume + A, %eax
  jmp *%rax

.macro GATE64 selector, offset, access, ist=0
  .word (\offset) - image, \selector
  .byte \ist, \access
  .word BASE >> 16
  .quad 0
.endm

.balign 16
gdt:
  .quad 0
  DESCRIPTOR 0, 0, 0x9a, 2
  DESCRIPTOR 0, 0xfffff, 0x92, 0xc
  DESCRIPTOR 0, 0xfffff, 0xfa, 0xc
  DESCRIPTOR 0, 0xfffff, 0xf2, 0xc
  DESCRIPTOR 0, 0, 0xfa, 2
  DESCRIPTOR 0, 0xfffff, 0x9a, 0xc
  DESCRIPTOR (BASE + 0x8000), 0x67, 0x89, 0
  .quad 0
  GATE64 CODE64, gate_function, 0xec
  DESCRIPTOR 0, 0, 0x9e, 2
  DESCRIPTOR 0, 0, 0x9a, 6
  DESCRIPTOR 0, 0, 0x1a, 2
  .quad 0
  GATE64 0x400, gate_function, 0xec
  DESCRIPTOR (BASE + 0x8100), 0x0f, 0x82, 0
  .quad 0
  DESCRIPTOR (BASE + 0x8100), 0xfff, 0xf2, 0
  GATE64 CODE32, gate_function, 0xec
  DESCRIPTOR USERPAGE, 0x0f, 0x82, 0
  .quad 0
gdt_end:
.balign 16
idt:
.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20
  .if \n == 3 || \n == 4
  GATE64 CODE64, handler_\n, 0xee
  .elseif \n == 8
  GATE64 CODE64, handler_\n, 0x8e, 2
  .elseif \n == 12
  GATE64 CODE64, handler_\n, 0x8e, 3
  .else
  GATE64 CODE64, handler_\n, 0x8e
  .endif
.endr
  .org idt + 0x40 * 16
  GATE64 CODE64, handler_64, 0xef
  GATE64 CODE64, handler_65, 0xee, 1
  GATE64 CODE32, handler_64, 0xee
  GATE64 CODE64, handler_64, 0xe6
  .word 0, CODE64
  .byte 0, 0xee
  .word 0
  .quad 0x8000
  GATE64 CODE64, handler_64, 0x6e
  GATE64 CONFORMING, handler_64, 0xee
idt_end:
idt32:
  .org idt32 + 13 * 8
  GATE CODE32, handler32_13, 0x8e
  GATE CODE32, handler32_14, 0x8e
idt32_end:
gdtr: .word gdt_end - gdt - 1
  .long gdt - image + BASE
gdtr_bad: .word 0xfff
  .quad 0x800000000000
idtr: .word idt_end - idt - 1
  .quad idt - image + BASE
idtr32: .word idt32_end - idt32 - 1
  .quad idt32 - image + BASE
far64: .quad far64_target + A
  .word CODE64
farcall: .quad far_function + A
  .word CODE64
fargate: .long 0
  .word GATE
fargateshort: .long 0
  .word GATESHORT
fargate32: .long 0
  .word GATE32
farboth: .long 0
  .word BOTH
fartss: .long 0
  .word TSS
farbad: .quad 0x800000000000
  .word CODE64
far32: .long far32_target + A
  .word CODE32
far32u: .quad far32u_target + A
  .word CODE32U
farleave: .long leave_long + A
  .word CODE32
.balign 16
invpcid_good: .quad 3, 0x202000
invpcid_bad: .quad 0x1003, 0x202000
invpcid_address: .quad 3, 0x800000000000
scratch: .fill 16, 1, 0
resume: .quad 0
  .org image + 0x8000
tss:
  .long 0
  .quad stack0 - image + BASE, 0, 0, 0
  .quad stack_ist1 - image + BASE, stack_ist2 - image + BASE, stack_ist3 - image + BASE
  .fill 36, 1, 0
  .word 0
  .word 0x68 - 0x68 + 0x1000
  .org image + 0x8100
  .quad 0
  DESCRIPTOR 0, 0xfff, 0x92, 0x4
  .org image + 0xa000
stack0:
  .org image + 0xb000
stack3:
  .org image + 0xc000
stack2:
  .org image + 0xd000
stack_ist1:
  .org image + 0xe000
stack_ist2:
  .org image + 0xf000
stack_ist3:
FINISH
