# What comes from outside: interrupts, NMI, shadows, HLT, string I/O, I/O breakpoints, shutdown.
# A test device: a write to port 0x500 asks for the interrupt with that vector, to 0x501 for an NMI; reads of port 0x502
# give 'a', 'b', 'c', ...; HLT with interrupts on asks for vector 0x52.
.include "macros.S"
START
  cli
  lgdtl gdtr - image
  lidtl idtr - image
  mov %cr0, %eax
  or $1, %al
  mov %eax, %cr0
  ljmpl $CODE0, $protected + A

.set A, BASE
.set CODE0, 0x08
.set DATA0, 0x10
.set SMALL, 0x18

.code32
LOG32
newline:
  push %eax
  mov $10, %al
  out %al, $LOG
  pop %eax
  ret
.macro TEST name
  SAY "\name: "
  mov $stack0 + A, %esp
  xor %ecx, %ecx
.endm
.macro END
9:
  call newline
.endm
.macro ASK vector
  mov $\vector, %al
  mov $0x500, %dx
  out %al, %dx
.endm

protected:
  mov $DATA0, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $stack0 + A, %esp

  TEST "interrupt at once"
    sti
    ASK 0x50
    inc %ecx
    inc %ecx
    cli
  END
  TEST "sti lets one instruction pass"
    ASK 0x50
    inc %ecx
    sti
    inc %ecx
    inc %ecx
    cli
  END
  TEST "sti cli"
    ASK 0x50
    sti
    cli
    inc %ecx
    inc %ecx
    SAY "none "
    sti
    nop
    cli
  END
  TEST "sti with interrupts on"
    sti
    ASK 0x50
    sti
    inc %ecx
    cli
  END
  TEST "mov ss"
    mov %ss, %ebx
    ASK 0x50
    sti
    mov %ebx, %ss
    inc %ecx
    inc %ecx
    cli
  END
  TEST "popf has no shadow"
    ASK 0x50
    pushl $0x202
    popf
    inc %ecx
    cli
  END
  TEST "iret has no shadow"
    ASK 0x50
    pushl $0x202
    pushl $CODE0
    pushl $7f + A
    iret
  7: inc %ecx
    cli
  END
  TEST "two interrupts"
    ASK 0x50
    ASK 0x51
    sti
    nop
    nop
    nop
    cli
  END
  TEST "nmi"
    mov $0x501, %dx
    out %al, %dx
    inc %ecx
  END
  TEST "hlt"
    sti
    hlt
    inc %ecx
    cli
  END
  TEST "sti hlt"
    ASK 0x50
    sti
    hlt
    inc %ecx
    cli
  END
  TEST "single step over mov ss"
    mov %ss, %ebx
    pushl $0x102
    popf
    mov %ebx, %ss
    inc %ecx
    inc %ecx
    pushl $2
    popf
  END
  TEST "single step over hlt"
    pushl $0x102
    popf
    hlt
    inc %ecx
    pushl $2
    popf
  END
  TEST "rep outsb"
    mov $text + A, %esi
    mov $5, %ecx
    mov $LOG, %dx
    rep outsb
    mov %ecx, %eax
    call hex32
    mov %esi, %eax
    sub $text + A, %eax
    call hex32
    rep outsb
    std
    dec %esi
    mov $3, %ecx
    rep outsb
    cld
    mov %esi, %eax
    sub $text + A, %eax
    call hex32
  END
  TEST "rep insb to a limit"
    mov $SMALL, %eax
    mov %eax, %es
    mov $0xffe, %edi
    mov $4, %ecx
    mov $0x502, %dx
    movl $7f + A, resume + A
    rep insb
  7: mov %ecx, %eax
    call hex32
    mov %edi, %eax
    call hex32
    in %dx, %al
    out %al, $LOG
    mov $DATA0, %eax
    mov %eax, %es
  END
  TEST "interrupt within rep outsb"
    mov $vectors + A, %esi
    mov $3, %ecx
    mov $0x500, %dx
    sti
    rep outsb
    cli
  END
  TEST "breakpoint on rep outsb"
    mov $7f + A, %eax
    mov %eax, %dr0
    mov $1, %eax
    mov %eax, %dr7
    mov $text + A, %esi
    mov $3, %ecx
    mov $LOG, %dx
  7: rep outsb
    xor %eax, %eax
    mov %eax, %dr7
  END
  TEST "single step rep outsb"
    mov $text + A, %esi
    mov $2, %ecx
    mov $LOG, %dx
    pushl $0x102
    popf
    rep outsb
    pushl $2
    popf
  END
  TEST "i/o breakpoint"
    mov $8, %eax
    mov %eax, %cr4
    mov $0x502, %eax
    mov %eax, %dr3
    mov $0x20000080, %eax
    mov %eax, %dr7
    mov $0x502, %dx
    in %dx, %al
    inc %ecx
    mov $0x503, %dx
    in %dx, %al
    xor %eax, %eax
    mov %eax, %dr7
  END
  TEST "cpuid"
    xor %eax, %eax
    cpuid
    mov %ebx, %eax
    call hex32
    mov $1, %eax
    cpuid
    and $0x08000000, %ecx
    mov %ecx, %eax
    call hex32
    mov $0x40200, %eax
    mov %eax, %cr4
    mov $1, %eax
    cpuid
    and $0x08000000, %ecx
    mov %ecx, %eax
    call hex32
  END
  TEST "shutdown"
    lidt idtr_none + A
    int3

# Handlers log the vector, how often ECX was counted up, and where they came from.
.irp n, 0x50,0x51,0x52
handler_\n:
  push %eax
  mov $\n, %eax
  jmp handled
.endr
handled:
  call hex16
  mov %ecx, %eax
  call hex16
  pop %eax
  iret

handler_nmi:
  SAY "nmi "
  mov %ecx, %eax
  call hex16
  incl nmis + A
  cmpl $1, nmis + A
  jne 1f
  mov $0x501, %dx
  out %al, %dx
  nop
  SAY "leaves "
1: iret

handler_db:
  push %eax
  SAY "db "
  mov %ecx, %eax
  call hex16
  mov %dr6, %eax
  call hex32
  xor %eax, %eax
  mov %eax, %dr6
  mov 12(%esp), %eax
  and $0x10000, %eax
  call hex32
  orl $0x10000, 12(%esp)
  pop %eax
  iret

handler_gp:
  SAY "gp "
  pop %eax
  call hex32
  add $12, %esp
  jmp *resume + A

.balign 16
gdt:
  .quad 0
  DESCRIPTOR 0, 0xfffff, 0x9b, 0xc
  DESCRIPTOR 0, 0xfffff, 0x93, 0xc
  DESCRIPTOR (BASE + 0x9000), 0xfff, 0x93, 0x4
gdt_end:
.balign 16
idt:
  .org idt + 8
  GATE CODE0, handler_db, 0x8e
  GATE CODE0, handler_nmi, 0x8e
  .org idt + 13 * 8
  GATE CODE0, handler_gp, 0x8e
  .org idt + 0x50 * 8
  GATE CODE0, handler_0x50, 0x8e
  GATE CODE0, handler_0x51, 0x8e
  GATE CODE0, handler_0x52, 0x8e
idt_end:
gdtr: .word gdt_end - gdt - 1
  .long gdt - image + BASE
idtr: .word idt_end - idt - 1
  .long idt - image + BASE
idtr_none: .word 0
  .long 0
text: .ascii "hello"
vectors: .byte 0x50, 0x51, 0x50
resume: .long 0
nmis: .long 0
  .org image + 0x8000
stack0:
FINISH
