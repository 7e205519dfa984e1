package sqlitestore

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// The one who reads is nobody special, also where the tests run as root.
func TestReadOnlyWhereNothingCanBeWritten(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	keptRoom(t, s)
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), lockedDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
