//go:build unix

package chaos

import "syscall"

// terminate asks a process to end in order.
const terminate = syscall.SIGTERM

// canFreeze says that a process can be made to stand still, as a machine does
// that is suspended or has no memory left.
const canFreeze = true

func (p *process) freeze() { p.frozen = p.cmd.Process.Signal(syscall.SIGSTOP) == nil }

func (p *process) thaw() {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	p.frozen = false
}
