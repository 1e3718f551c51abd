# Exceptions, interrupts, privilege changes, gates, tasks, virtual-8086 mode and segment loads in 32-bit protected mode.
.include "macros.S"
START
  cli
  lgdtl gdtr - image
  lidtl idtr - image
  mov %cr0, %eax
  or $1, %al
  mov %eax, %cr0
  ljmpl $CODE0, $(protected - image + BASE)

.set CODE0, 0x08
.set DATA0, 0x10
.set CODE3, 0x1b
.set DATA3, 0x23
.set TSS, 0x28
.set TSS2, 0x30
.set TSS16, 0x38
.set LDT, 0x40
.set GATE32, 0x48
.set GATE16, 0x50
.set CONFORMING, 0x58
.set ABSENT, 0x60
.set EXPAND, 0x68
.set EXECONLY, 0x70
.set TASKGATE, 0x78
.set CODE16, 0x80
.set DATA16, 0x88
.set TSSSHORT, 0x90
.set ABSENTCODE, 0x98
.set READONLY, 0xa0
.set GATE0, 0xa8
.set DATA2, 0xb0
.set LIMITED, 0xb8
.set GATECONF, 0xc0
.set CODEBASE, 0xd0
.set A, BASE # what is added to an offset in the image for its linear address

.code32
LOG32

# Runs a test at level 0: what follows TEST up to END; a fault logs and goes on behind END.
.macro TEST name
  movl $9f + A, resume + A
  SAY "\name: "
.endm
.macro END
  SAY "ok"
9:
  call newline
.endm
# The same at level 3 (flat segments, own stack).
.macro TEST3 name, flags=0x2
  movl $9f + A, resume + A
  SAY "\name: "
  pushl $DATA3
  pushl $stack3 + A
  pushl $\flags
  pushl $CODE3
  pushl $8f + A
  iret
8:
.endm
.macro END3
  SAY "ok3"
  int $0x40
9:
  call newline
.endm

newline:
  push %eax
  mov $10, %al
  out %al, $LOG
  pop %eax
  ret

protected:
  mov $DATA0, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  xor %eax, %eax
  mov %eax, %fs
  mov %eax, %gs
  mov $stack0 + A, %esp
  mov $TSS, %eax
  ltr %ax
  mov $LDT, %eax
  lldt %ax

  TEST "divide"
    xor %ecx, %ecx
    div %ecx
  END
  TEST "int3"
    int3
  END
  TEST "into"
    mov $0x7f, %al
    add $1, %al
    into
  END
  TEST "bound"
    mov $5, %eax
    bound %eax, bounds + A
  END
  TEST "ud2"
    ud2
  END
  TEST "int 40"
    int $0x40
  END
  TEST "int 16-bit gate"
    int $0x41
  END
  TEST "int absent gate"
    int $0x43
  END
  TEST "int null selector"
    int $0x44
  END
  TEST "int conforming"
    int $0x45
  END
  TEST "int data selector"
    int $0x46
  END
  TEST "int absent code"
    int $0x47
  END
  TEST "int beyond idt"
    int $0xff
  END
  TEST "int selector beyond gdt"
    int $0x48
  END
  TEST "int bad gate type"
    int $0x49
  END
  TEST "icebp"
    .byte 0xf1
  END
  TEST "load null ds"
    xor %eax, %eax
    mov %eax, %es
    mov %es:0, %eax
  END
  TEST "load beyond"
    mov $0xfff8, %eax
    mov %eax, %es
  END
  TEST "load absent"
    mov $ABSENT, %eax
    mov %eax, %es
  END
  TEST "load execute-only"
    mov $EXECONLY, %eax
    mov %eax, %es
  END
  TEST "load readable code"
    mov $CODE0, %eax
    mov %eax, %es
    mov %es:BASE, %ax
    call hex16
    mov %al, %es:BASE
  END
  TEST "load system"
    mov $TSS, %eax
    mov %eax, %es
  END
  TEST "ss null"
    xor %eax, %eax
    mov %eax, %ss
  END
  TEST "ss rpl"
    mov $DATA0 + 1, %eax
    mov %eax, %ss
  END
  TEST "ss dpl"
    mov $DATA3, %eax
    mov %eax, %ss
  END
  TEST "ss read-only"
    mov $READONLY, %eax
    mov %eax, %ss
  END
  TEST "ss absent"
    mov $ABSENT, %eax
    mov %eax, %ss
  END
  TEST "mov cs"
    .byte 0x8e, 0xc8
  END
  TEST "ldt load"
    mov $4, %eax
    mov %eax, %es
    mov %es, %eax
    call hex16
    mov $12, %eax
    mov %eax, %es
  END
  TEST "accessed bit"
    movb gdt + LIMITED + 5 + A, %al
    call hex16
    mov $LIMITED, %eax
    mov %eax, %es
    movb gdt + LIMITED + 5 + A, %al
    call hex16
  END
  TEST "limit"
    mov $LIMITED, %eax
    mov %eax, %es
    movb %es:0xfff, %al
    movl %es:0xffd, %eax
  END
  TEST "expand down"
    mov $EXPAND, %eax
    mov %eax, %es
    movb %es:0x20000, %al
    movb %es:0xffff, %al
  END
  TEST "les"
    les farpointer + A, %eax
    call hex32
    mov %es, %eax
    call hex16
  END
  TEST "lar lsl verr verw"
    mov $0xaaaaaaaa, %eax
    mov $CODE0, %ecx
    lar %ecx, %eax
    call queried
    mov $TSS, %ecx
    lar %ecx, %eax
    call queried
    mov $GATE32, %ecx
    lar %ecx, %eax
    call queried
    mov $GATE32, %ecx
    lsl %ecx, %eax
    call queried
    mov $DATA0, %ecx
    lsl %ecx, %eax
    call queried
    mov $LIMITED, %ecx
    lsl %ecx, %eax
    call queried
    mov $0, %ecx
    lsl %ecx, %eax
    call queried
    mov $DATA3 & ~3 | 3, %ecx
    lar %ecx, %eax
    call queried
    mov $DATA0 | 3, %ecx
    lar %ecx, %eax
    call queried
    mov $EXECONLY, %ecx
    verr %cx
    call queried
    mov $CODE0, %ecx
    verr %cx
    call queried
    mov $CODE0, %ecx
    verw %cx
    call queried
    mov $DATA0, %ecx
    verw %cx
    call queried
    mov $0xfff8, %ecx
    verr %cx
    call queried
  END
  TEST "arpl"
    mov $0x10, %ecx
    mov $0x23, %edx
    arpl %dx, %cx
    mov %ecx, %eax
    call queried
    arpl %dx, %cx
    mov %ecx, %eax
    call queried
  END
  TEST "sldt str"
    sldt %eax
    call hex32
    str %eax
    call hex32
    smsw %eax
    call hex32
  END
  TEST "sgdt sidt"
    sgdt scratch + A
    mov scratch + A, %eax
    call hex16
    mov scratch + 2 + A, %eax
    call hex32
    sidt scratch + A
    mov scratch + A, %eax
    call hex16
    mov scratch + 2 + A, %eax
    call hex32
  END
  TEST "ltr busy"
    mov $TSS, %eax
    ltr %ax
  END
  TEST "ltr data"
    mov $DATA0, %eax
    ltr %ax
  END
  TEST "lldt tss"
    mov $TSS2, %eax
    lldt %ax
  END
  TEST "cr0 pg without pe"
    mov %cr0, %eax
    and $~1, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
  END
  TEST "cr0 nw without cd"
    mov %cr0, %eax
    or $0x20000000, %eax
    and $~0x40000000, %eax
    mov %eax, %cr0
  END
  TEST "cr4 reserved"
    mov $0x80000000, %eax
    mov %eax, %cr4
  END
  TEST "mov cr5"
    .byte 0x0f, 0x20, 0xe8
  END
  TEST "dr"
    mov $0x12345678, %eax
    mov %eax, %dr1
    mov %dr1, %eax
    call hex32
    mov $0, %eax
    mov %eax, %dr6
    mov %dr6, %eax
    call hex32
    mov $0, %eax
    mov %eax, %dr7
    mov %dr7, %eax
    call hex32
    .byte 0x0f, 0x21, 0xf8 - 16 # dr5
    call hex32
  END
  TEST "dr5 with de"
    mov $8, %eax
    mov %eax, %cr4
    .byte 0x0f, 0x21, 0xe8
  END
  xor %eax, %eax
  mov %eax, %cr4
  TEST "unknown msr"
    mov $0x12345, %ecx
    rdmsr
  END
  TEST "single step"
    mov $0, %eax
    mov %eax, %dr6
    pushf
    orl $0x100, (%esp)
    popf
    nop
    nop
  END
  TEST "instruction breakpoint"
    xor %eax, %eax
    mov %eax, %dr6
    movl $7f + A, %eax
    mov %eax, %dr0
    mov $0x1, %eax
    mov %eax, %dr7
    nop
  7: nop
  END
  TEST "breakpoint with rf"
    pushl $0x10002
    pushl $CODE0
    movl $7f + A, %eax
    mov %eax, %dr0
    push %eax
    iret
  7: nop
    xor %eax, %eax
    mov %eax, %dr7
  END
  TEST "data write breakpoint"
    xor %eax, %eax
    mov %eax, %dr6
    movl $scratch + A, %eax
    mov %eax, %dr2
    mov $0x0d000010, %eax
    mov %eax, %dr7
    mov scratch + A, %eax
    movb $1, scratch + 3 + A
    nop
  END
  xor %eax, %eax
  mov %eax, %dr7
  TEST "general detect"
    mov $0x2000, %eax
    mov %eax, %dr7
    mov %dr0, %eax
  END
  xor %eax, %eax
  mov %eax, %dr7
  TEST "far jump data"
    ljmp $DATA0, $0
  END
  TEST "far jump null"
    ljmp $0, $0
  END
  TEST "far jump level 3"
    ljmp $CODE3, $0
  END
  TEST "far jump absent"
    ljmp $ABSENTCODE, $0
  END
  TEST "far jump conforming"
    ljmp $CONFORMING, $7f + A
  7: mov %cs, %eax
    call hex16
    ljmp $CODE0, $7f + A
  7:
  END
  TEST "far call and ret"
    lcall $CODE0, $far_function + A
  END
  TEST "far call 16"
    mov %esp, %ebp
    data16 lcall *far16 + A
far16_back:
    mov %esp, %eax
    sub %ebp, %eax
    call hex32
  END
  TEST "call gate same level"
    lcall $GATE0, $0
  END
  TEST "call gate conforming"
    lcall $GATECONF, $0
  END
  TEST "jump through gate"
    pushl $CODE0
    pushl $7f + A
    ljmp $GATE0, $0
  7:
  END
  TEST "iret bad cs"
    pushl $2
    pushl $DATA0
    pushl $0
    iret
  END
  TEST "iret null cs"
    pushl $2
    pushl $0
    pushl $0
    iret
  END
  TEST "iret bad ss"
    pushl $DATA0
    pushl $stack3 + A
    pushl $2
    pushl $CODE3
    pushl $0
    iret
  END
  TEST "iret16"
    pushw $2
    pushw $CODE16
    pushw $code16 - image
    iretw
  END
  TEST "retf bad rpl"
    pushl $CONFORMING + 3
    pushl $0
    lret
  END
  TEST "level 3 retf"
    pushl $DATA3
    pushl $stack3 + A
    pushl $0x11111111
    pushl $0x22222222
    pushl $CODE3
    pushl $7f + A
    lret $8
  7: mov %esp, %eax
    sub $stack3 + A, %eax
    int $0x40
  END

  # Level 3.
  TEST3 "level 3"
    mov %ds, %eax
    call hex16
    mov %cs, %eax
    call hex16
    mov %ss, %eax
    call hex16
  END3
  TEST3 "level 3 cli"
    cli
  END3
  TEST3 "level 3 cli with iopl", 0x3002
    cli
    sti
    pushf
    pop %eax
    call hex32
  END3
  TEST3 "level 3 hlt"
    hlt
  END3
  TEST3 "level 3 popf", 0x2
    pushl $0x3202
    popf
    pushf
    pop %eax
    call hex32
  END3
  TEST3 "level 3 out denied"
    out %al, $0x80
  END3
  TEST3 "level 3 out wide"
    mov $0xe8, %dx
    outw %ax, %dx
  END3
  TEST3 "level 3 out beyond"
    mov $0x1234, %dx
    out %al, %dx
  END3
  TEST3 "level 3 int 40"
    int $0x40
  END3
  TEST3 "level 3 int3"
    int3
  END3
  TEST3 "level 3 int 21"
    int $0x21
  END3
  TEST3 "level 3 divide"
    xor %ecx, %ecx
    div %ecx
  END3
  TEST3 "level 3 load level 0"
    mov $DATA0, %eax
    mov %eax, %es
  END3
  TEST3 "level 3 load conforming"
    mov $CONFORMING, %eax
    mov %eax, %es
    mov %es, %eax
    call hex16
  END3
  TEST3 "level 3 mov cr"
    mov %cr0, %eax
  END3
  TEST3 "level 3 lgdt"
    lgdt gdtr + A
  END3
  TEST3 "level 3 call gate"
    pushl $0xaaaa
    pushl $0xbbbb
    lcall $GATE32, $0
    mov %esp, %eax
    sub $stack3 + A, %eax
    call hex32
  END3
  TEST3 "level 3 call gate 16"
    pushl $0xaaaa
    lcall $GATE16, $0
    mov %esp, %eax
    sub $stack3 + A, %eax
    call hex32
  END3
  TEST3 "level 3 call level 0 gate"
    lcall $GATE0, $0
  END3
  TEST3 "level 3 conforming"
    lcall $CONFORMING, $far_function + A
  END3
  TEST3 "level 3 far jump level 0"
    ljmp $CODE0, $0
  END3
  TEST3 "level 3 single step", 0x102
    nop
  END3
  TEST3 "level 3 alignment", 0x40002
    mov stack3 + 1 + A, %eax
  END3
  mov %cr0, %eax
  or $0x40000, %eax
  mov %eax, %cr0
  TEST3 "level 3 alignment checked", 0x40002
    mov stack3 + 1 + A, %eax
  END3
  TEST3 "level 3 rdtsc allowed"
    rdtsc
    xor %eax, %eax
  END3
  mov $4, %eax
  mov %eax, %cr4
  TEST3 "level 3 rdtsc denied"
    rdtsc
  END3
  TEST3 "level 3 sysenter null"
    sysenter
  END3
  mov $0x174, %ecx
  xor %edx, %edx
  mov $CODE0, %eax
  wrmsr
  mov $0x175, %ecx
  mov $stack0 + A, %eax
  wrmsr
  mov $0x176, %ecx
  mov $sysenter_entry + A, %eax
  wrmsr
  TEST3 "level 3 sysenter"
    sysenter
    SAY "back"
  END3

  # Tasks.
  TEST "call task"
    lcall $TSS2, $0
    call task_state
  END
  TEST "call task again"
    lcall $TASKGATE, $0
    call task_state
  END
  TEST "int task"
    int $0x42
    call task_state
  END
  TEST "call task 16"
    lcall $TSS16, $0
    call task_state
  END
  TEST "jump task"
    movl $7f + A, tss2_back + A
    ljmp $TSS2, $0
  7: call task_state
  END
  TEST "call busy task"
    lcall $TSS, $0
  END
  TEST "call short task"
    lcall $TSSSHORT, $0
  END
  TEST "iret nested busy"
    movw $TSS2, tss + A
    pushf
    orl $0x4000, (%esp)
    popf
    iret
  END
  pushf
  andl $~0x4000, (%esp)
  popf
  TEST3 "level 3 task gate"
    lcall $TASKGATE, $0
    SAY "back"
  END3
  TEST3 "level 3 task gate with error"
    int $0x4b
  END3
  # Virtual-8086 mode.
.macro TESTV name, flags
  movl $9f + A, resume + A
  SAY "\name: "
  pushl $0x4444
  pushl $0x3333
  pushl $0x2222
  pushl $0x1111
  pushl $0x0900
  pushl $0x0ff0
  pushl $\flags
  pushl $BASE >> 4
  pushl $8f - image
  iret
  .code16
8:
.endm
.macro ENDV
  int3
  .code32
9:
  call newline
.endm
  TESTV "v86", 0x20002
    mov %ds, %ax
    mov %cs, %bx
    mov $0x1234, %cx
  ENDV
  TESTV "v86 int iopl 0", 0x20002
    int $0x40
  ENDV
  TESTV "v86 int iopl 3 dpl 3", 0x23002
    int $0x40
  ENDV
  TESTV "v86 int to conforming", 0x23002
    int $0x45
  ENDV
  TESTV "v86 cli", 0x20002
    cli
  ENDV
  TESTV "v86 cli iopl 3", 0x23202
    cli
    pushf
    pop %ax
  ENDV
  TESTV "v86 pushf", 0x20002
    pushf
  ENDV
  TESTV "v86 iret", 0x23002
    pushw $0x3202
    pushw $BASE >> 4
    pushw $7f - image
    iretw
  7: mov $0x77, %al
  ENDV
  TESTV "v86 out", 0x23002
    out %al, $0x80
  ENDV
  TESTV "v86 out allowed", 0x20002
    mov $'v', %al
    out %al, $LOG
  ENDV
  TESTV "v86 far", 0x20002
    ljmp $(BASE >> 4) + 1, $7f - image - 16
  7: mov %cs, %ax
    mov $0x900, %bx
    mov %bx, %es
    movw %es:0x10, %cx
  ENDV
  TESTV "v86 lar", 0x20002
    lar %ax, %ax
  ENDV
  TESTV "v86 hlt", 0x20002
    hlt
  ENDV
  TESTV "v86 mov cr", 0x20002
    mov %cr0, %eax
  ENDV
  TESTV "v86 limit", 0x20002
    mov $0xffff, %bx
    movw %ds:(%bx), %ax
  ENDV
  TESTV "v86 divide", 0x20002
    xor %cx, %cx
    div %cx
  ENDV
  TESTV "v86 task gate", 0x23002
    int $0x42
    mov $0x5a5a, %ax
  ENDV

  # Double fault: #GP while #NP is delivered; the stack is fine.
  TEST "double fault"
    movw $0, idt + 11 * 8 + 2 + A
    mov $ABSENT, %eax
    mov %eax, %es
  END
  movw $CODE0, idt + 11 * 8 + 2 + A
  SAY "back to real mode: "
  jmp to_real

far_function:
  mov %cs, %eax
  call hex16
  lret
gate_function:
  mov %cs, %eax
  call hex16
  mov %ss, %eax
  call hex16
  mov %esp, %eax
  sub $stack0 + A, %eax
  call hex32
  mov (%esp), %eax
  mov 4(%esp), %eax
  call hex32
  mov 8(%esp), %eax
  call hex32
  mov 12(%esp), %eax
  call hex32
  lret $8
gate16_function:
  mov %esp, %eax
  sub $stack0 + A, %eax
  call hex32
  mov 2(%esp), %eax
  call hex16
  mov 4(%esp), %eax
  call hex32
  lretw $2
gate0_function:
  mov %cs, %eax
  call hex16
  lret
queried:
  pushf
  call hex32
  pop %eax
  and $0x40, %eax
  call hex16
  mov $0xaaaaaaaa, %eax
  ret
sysenter_entry:
  mov $DATA0, %eax
  mov %eax, %ds
  mov %cs, %eax
  call hex16
  mov %ss, %eax
  call hex16
  pushf
  pop %eax
  and $0x200, %eax
  call hex32
  mov $after_sysenter + A, %edx
  mov $stack3 + A, %ecx
  sysexit
after_sysenter:
  mov %cs, %eax
  call hex16
  mov %ss, %eax
  call hex16
  int $0x40

task_state:
  str %eax
  call hex16
  pushf
  pop %eax
  and $~0xd5, %eax
  call hex32
  mov %cr0, %eax
  call hex32
  clts
  movb gdt + TSS + 5 + A, %al
  call hex16
  movb gdt + TSS2 + 5 + A, %al
  call hex16
  ret

task2:
  SAY "task2 "
  call task_state
  movzwl tss2 + A, %eax
  call hex16
  mov %ebx, %eax
  call hex32
  sldt %eax
  call hex16
  cmpl $0, tss2_back + A
  jne 1f
  iret
  jmp task2
1: SAY "jumps "
  movl $0, tss2_back + A
  ljmp $TSS, $0
  jmp task2

task2_error:
  SAY "error "
  pop %eax
  call hex32
  iret
  jmp task2_error

.code16
task16:
  mov $'6', %al
  out %al, $LOG
  mov %bx, %ax
  iretw
  jmp task16
far16_target:
  pop %ax
  pop %ax
  ljmpl $CODE0, $far16_back - image + BASE
code16:
  mov $'x', %al
  out %al, $LOG
  ljmpl $CODE0, $7f - image + BASE
.code32
7: SAY " from 16"
  jmp *resume + A

# Handlers: vector and error code (or a mark) on the stack.
.macro HANDLER n, code
handler_\n:
  .if \code == 0
  pushl $0xeeee
  .endif
  pushl $\n
  jmp common
.endm
.irp n, 0,1,2,3,4,5,6,7,9,15,16,18,19,20
HANDLER \n, 0
.endr
.irp n, 8,10,11,12,13,14,17
HANDLER \n, 1
.endr
handler_64:
  pushl $0xeeee
  pushl $0x40
  jmp common
handler_69:
  pushl $0xeeee
  pushl $0x45
  jmp common
handler_33:
  pushl $0xeeee
  pushl $0x21
  jmp common

handler_65: # 16-bit frame
  mov (%esp), %eax
  call hex32
  mov 4(%esp), %eax
  call hex16
  mov %esp, %eax
  sub $stack0 + A, %eax
  call hex32
  ljmp $CODE0, $leave + A

common:
  push %eax
  push %ds
  mov $DATA0, %eax
  mov %eax, %ds
  cld
  mov 8(%esp), %eax
  SAY "#"
  call hex16
  mov 12(%esp), %eax
  call hex32
  mov 20(%esp), %eax # cs
  call hex16
  mov 16(%esp), %eax
  call hex32
  mov 24(%esp), %eax
  and $~0xd5, %eax
  call hex32
  mov %esp, %eax
  sub $stack0 + A, %eax
  call hex32
  mov %cs, %eax
  call hex16
  pushf
  pop %eax
  and $~0xd5, %eax
  call hex32
  SAY "| "
  mov 4(%esp), %eax
  call hex32
  mov (%esp), %eax
  call hex16
  testl $0x20000, 24(%esp)
  jnz 1f
  testb $3, 20(%esp)
  jz 2f
1: SAY "ss "
  mov 28(%esp), %eax
  call hex32
  mov 32(%esp), %eax
  call hex16
  mov %es, %eax
  call hex16
  testl $0x20000, 24(%esp)
  jz 2f
  SAY "v "
  mov 36(%esp), %eax
  call hex16
  mov 40(%esp), %eax
  call hex16
  mov 44(%esp), %eax
  call hex16
  mov 48(%esp), %eax
  call hex16
2: cmpl $1, 8(%esp)
  jne leave
  mov %dr6, %eax
  call hex32
  mov %dr7, %eax
  call hex32
leave:
  mov $DATA0, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $stack0 + A, %esp
  xor %eax, %eax
  mov %eax, %fs
  mov %eax, %gs
  push $2
  popf
  str %ax
  cmp $TSS, %ax
  je 1f
  SAY "in other task "
  jmp *resume + A
1: jmp *resume + A

to_real:
  lidtl idtr_real + A
  ljmp $CODE16, $7f - image
.code16
7: mov $DATA16, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov %cr0, %eax
  and $~1, %al
  mov %eax, %cr0
  ljmp $BASE >> 4, $7f - image
7: mov %cs, %ax
  mov %ax, %ds
  mov $0x800, %ax
  mov %ax, %ss
  mov $0x7ff0, %sp
  xor %ax, %ax
  mov %ax, %es
  movw $real_handler - image, %es:0x180
  movw $BASE >> 4, %es:0x182
  mov $0x3f, %al
  stc
  int $0x60
  mov $'r', %al
  out %al, $LOG
  lcall $(BASE >> 4) + 1, $real_far - image - 16
  movw $real_handler - image, %es:0x00
  movw $BASE >> 4, %es:0x02
  mov $':', %al
  out %al, $LOG
  xor %cx, %cx
  div %cx
real_handler:
  mov %sp, %bp
  mov (%bp), %ax
  call real_hex
  mov 2(%bp), %ax
  call real_hex
  mov 4(%bp), %ax
  and $~0xd4, %ax
  call real_hex
  pushf
  pop %ax
  and $~0xd4, %ax
  call real_hex
  cmpw $0x1000, 2(%bp)
  jne 1f
  mov (%bp), %bx
  cmpb $0xf7, (%bx) # the division: leave it
  je 2f
1: iretw
2: mov $10, %al
  out %al, $LOG
  mov $0x31, %al
  out %al, $0xf4
  cli
  hlt
real_far:
  mov %cs, %ax
  call real_hex
  lretw
real_hex:
  mov $4, %cx
  mov %ax, %dx
1: rol $4, %dx
  mov %dl, %al
  and $15, %al
  cmp $10, %al
  jb 2f
  add $39, %al
2: add $48, %al
  out %al, $LOG
  loop 1b
  mov $32, %al
  out %al, $LOG
  ret

.balign 16
gdt:
  .quad 0
  DESCRIPTOR 0, 0xfffff, 0x9a, 0xc
  DESCRIPTOR 0, 0xfffff, 0x92, 0xc
  DESCRIPTOR 0, 0xfffff, 0xfa, 0xc
  DESCRIPTOR 0, 0xfffff, 0xf2, 0xc
  DESCRIPTOR (BASE + 0x8000), 0x8f, 0x89, 0
  DESCRIPTOR (BASE + 0x8100), 0x67, 0x89, 0
  DESCRIPTOR (BASE + 0x8200), 0x2b, 0x81, 0
  DESCRIPTOR (BASE + 0x8300), 0x0f, 0x82, 0
  GATE CODE0, gate_function, 0xec, 2
  GATE CODEBASE, gate16_function, 0xe4, 1
  DESCRIPTOR 0, 0xfffff, 0x9e, 0xc
  DESCRIPTOR 0, 0xfffff, 0x12, 0xc
  DESCRIPTOR 0, 0x0000f, 0x96, 0xc
  DESCRIPTOR 0, 0xfffff, 0x98, 0xc
  GATE TSS2, image, 0xe5
  DESCRIPTOR BASE, 0xffff, 0x9a, 0
  DESCRIPTOR BASE, 0xffff, 0x92, 0
  DESCRIPTOR (BASE + 0x8100), 0x66, 0x89, 0
  DESCRIPTOR 0, 0xfffff, 0x1a, 0xc
  DESCRIPTOR 0, 0xfffff, 0x90, 0xc
  GATE CODE0, gate0_function, 0x8c
  DESCRIPTOR 0, 0xfffff, 0xd2, 0xc
  DESCRIPTOR 0, 0xfff, 0x92, 0x4
  GATE CONFORMING, gate0_function, 0xec
  DESCRIPTOR (BASE + 0x8400), 0x67, 0x89, 0
  DESCRIPTOR BASE, 0xffff, 0x9a, 0x4
gdt_end:
.balign 16
idt:
.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20
  .if \n == 3 || \n == 4
  GATE CODE0, handler_\n, 0xee
  .else
  GATE CODE0, handler_\n, 0x8e
  .endif
.endr
  .org idt + 0x21 * 8
  GATE CODE0, handler_33, 0x8e
  .org idt + 0x40 * 8
  GATE CODE0, handler_64, 0xef
  GATE CODEBASE, handler_65, 0xe6
  GATE TSS2, image, 0xe5
  GATE CODE0, handler_64, 0x6e
  GATE 0, handler_64, 0xee
  GATE CONFORMING, handler_69, 0xee
  GATE DATA0, handler_64, 0xee
  GATE ABSENTCODE, handler_64, 0xee
  GATE 0x400, handler_64, 0xee
  GATE CODE0, handler_64, 0xec
  GATE CODE0, handler_64, 0xee
  GATE 0xc8, image, 0xe5
idt_end:
gdtr: .word gdt_end - gdt - 1
  .long gdt - image + BASE
idtr: .word idt_end - idt - 1
  .long idt - image + BASE
idtr_real: .word 0x3ff
  .long 0
bounds: .long 10, 20
farpointer: .long 0x89abcdef
  .word DATA3
far16: .word far16_target - image, CODE16
scratch: .fill 16, 1, 0
resume: .long 0
tss2_back: .long 0
  .org image + 0x8000
tss:
  .long 0, stack0 - image + BASE, DATA0, 0, 0, 0, 0
  .fill 75, 1, 0
  .word 0x68
  .fill 29, 1, 0xff
  .byte 0xfd # port 0xe9
  .fill 10, 1, 0xff
  .org image + 0x8100
tss2:
  .long 0, stack0 - image + BASE, DATA0, 0, 0, 0, 0, 0
  .long task2 - image + BASE
tss2_eflags:
  .long 0x2
  .long 0xa, 0xc, 0xd, 0xb, stack2 - image + BASE, 0xe, 0xf, 0x10
  .long DATA0, CODE0
tss2_ss:
  .long DATA0
tss2_ds:
  .long DATA0, 0, 0, LDT
  .word 0, 0x68
  .org image + 0x8200
  .word 0, 0x7000, 0, 0, 0, 0, 0
  .word task16 - image, 2, 1, 2, 3, 4, 0x7000, 6, 7, 8, DATA16, CODE16, DATA16, DATA16, 0
  .org image + 0x8300
  DESCRIPTOR 0, 0xfff, 0x92, 0x4
  DESCRIPTOR 0, 0xfff, 0x12, 0x4
  .org image + 0x8400
  .long 0, stack0 - image + BASE, DATA0, 0, 0, 0, 0, 0
  .long task2_error - image + BASE, 2
  .long 0xa, 0xc, 0xd, 0xb, stack2 - image + BASE, 0xe, 0xf, 0x10
  .long DATA0, CODE0, DATA0, DATA0, 0, 0, 0
  .word 0, 0x68
  .org image + 0xa000
stack0:
  .org image + 0xb000
stack3:
  .org image + 0xc000
stack2:
FINISH
