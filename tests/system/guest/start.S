# Start of the system test guests: a 64 KiB firmware that copies itself to BASE, enters 32-bit protected mode or long
# mode (WIDE) and calls main(); and `run`, which runs a piece of code at a privilege level and says how it ended.

.set CODE, 0x08
.set DATA, 0x10
.set USER_CODE, 0x1b
.set USER_DATA, 0x23
.set TASK, 0x28

.section .start, "ax"
.code16
image:
  cli
  cld
  mov $0xf000, %ax
  mov %ax, %ds
  mov $BASE >> 4, %ax
  mov %ax, %es
  xor %si, %si
  xor %di, %di
  mov $0x8000, %cx
  rep movsw
  ljmp $BASE >> 4, $(go - image)
go:
  mov %cs, %ax
  mov %ax, %ds
  lgdtl first_gdtr - image
  mov %cr0, %eax
  or $0x31, %eax
  mov %eax, %cr0
  ljmpl $CODE, $protected
first_gdtr:
  .word 0x3f
  .long first_gdt
.balign 8
first_gdt: # with a 64-bit code segment at 0x30
  .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff, 0, 0x00af9b000000ffff, 0

.code32
protected:
  mov $DATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov %eax, %fs
  mov %eax, %gs
  mov $STACK, %esp
  mov $bss_start, %edi
  mov $bss_end, %ecx
  sub %edi, %ecx
  xor %eax, %eax
  rep stosb
#ifdef WIDE
  # 2 MiB pages over the first 1 GiB, for supervisor code.
  movl $TABLES + 0x1003, TABLES
  movl $TABLES + 0x2003, TABLES + 0x1000
  mov $TABLES + 0x2000, %edi
  mov $0x83, %eax
1: mov %eax, (%edi)
  movl $0, 4(%edi)
  add $8, %edi
  add $0x200000, %eax
  cmp $0x40000083, %eax
  jne 1b
  mov $TABLES, %eax
  mov %eax, %cr3
  mov $0x620, %eax
  mov %eax, %cr4
  mov $0xc0000080, %ecx
  rdmsr
  or $0x901, %eax # LME, NXE, SCE
  wrmsr
  mov %cr0, %eax
  or $0x80000000, %eax
  mov %eax, %cr0
  ljmpl $0x30, $long
.code64
long:
  call main
#else
  call main
#endif
  mov $0xf4, %edx # QEMU's exit device
  xor %eax, %eax
  out %eax, %dx
1: hlt
  jmp 1b

.section .text, "ax"
.global run, stubs, stop_read, stop_write, stop_execute
#ifdef WIDE
# run(code, level, argument): rdi, rsi, rdx. The code gets the argument in rdi and ends by any event.
run:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, resume_sp(%rip)
  mov %rsp, task + 4(%rip)
  mov %rdi, %rcx
  mov %rdx, %rdi
  mov $USER_DATA, %eax
  mov %eax, %r11d
  test %esi, %esi
  jz 1f
  push %rax
  push $USER_STACK
  push run_flags(%rip)
  push $USER_CODE
  push %rcx
  iretq
1: push $DATA
  lea -64(%rsp), %rax
  push %rax
  push run_flags(%rip)
  push $CODE
  push %rcx
  iretq
common: # error code and vector on the stack
  push %rax
  mov 8(%rsp), %rax
  mov %eax, event(%rip)
  mov 16(%rsp), %rax
  mov %rax, event + 8(%rip)
  mov 24(%rsp), %rax
  mov %rax, event + 16(%rip)
  mov 32(%rsp), %rax
  mov %rax, event + 24(%rip)
  mov 40(%rsp), %rax
  mov %rax, event + 32(%rip)
  pop %rax
  mov %rax, event + 40(%rip)
  mov %cr2, %rax
  mov %rax, event + 48(%rip)
  mov resume_sp(%rip), %rsp
  mov $DATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  push $2
  popf
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
#else
# run(code, level, argument) on the stack. The code gets the argument in edi and ends by any event.
run:
  push %ebx
  push %ebp
  push %esi
  push %edi
  mov 20(%esp), %ecx
  mov 24(%esp), %esi
  mov 28(%esp), %edi
  mov %esp, resume_sp
  mov %esp, task + 4
  test %esi, %esi
  jz 1f
  mov $USER_DATA, %eax # IRET would make the others null
  mov %eax, %ds
  mov %eax, %es
  push $USER_DATA
  push $USER_STACK
1: push run_flags
  mov $CODE, %eax
  test %esi, %esi
  jz 2f
  mov $USER_CODE, %eax
2: push %eax
  push %ecx
  iret
common: # error code and vector on the stack
  cld
  push %eax
  mov 4(%esp), %eax
  mov %eax, %ss:event
  mov 8(%esp), %eax
  mov %eax, %ss:event + 8
  mov 12(%esp), %eax
  mov %eax, %ss:event + 16
  mov 16(%esp), %eax
  mov %eax, %ss:event + 24
  mov 20(%esp), %eax
  mov %eax, %ss:event + 32
  pop %eax
  mov %eax, %ss:event + 40
  mov %cr2, %eax
  mov %eax, %ss:event + 48
  mov $DATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %fs
  mov %eax, %gs
  mov %eax, %ss
  mov resume_sp, %esp
  push $2
  popf
  pop %edi
  pop %esi
  pop %ebp
  pop %ebx
  ret
#endif

# One page of code that both levels run: accesses to where edi points.
.balign 4096
stubs:
stop_read:
#ifdef WIDE
  mov (%rdi), %eax
#else
  mov (%edi), %eax
#endif
  int $0x40
.balign 16
stop_write:
#ifdef WIDE
  mov %eax, (%rdi)
#else
  mov %eax, (%edi)
#endif
  int $0x40
.balign 16
stop_execute:
#ifdef WIDE
  jmp *%rdi
#else
  jmp *%edi
#endif
.balign 4096

.section .text
# 256 entries of 16 bytes; those without an error code push a zero.
.balign 16
.global entries
entries:
.set n, 0
.rept 256
  .balign 16
  .if !((n == 8) || ((n >= 10) && (n <= 14)) || (n == 17))
  push $0
  .endif
  push $n
  jmp common
  .set n, n + 1
.endr
