package stream

import "testing"

func TestRemoteError_NotRunning(t *testing.T) {
	for message, want := range map[string]bool{
		`container not found ("app")`:                                                        true,
		`error executing command in container: container is not running`:                     true,
		`rpc error: code = Unknown desc = container is in CONTAINER_EXITED state`:            true,
		`exec: "container not found": executable file not found in $PATH`:                    false,
		"failed to load task: no running task found: task 242c5a4f0b1d not found: not found": true,
		`can't exec: container is not created or running`:                                    true,
		"volume of task abc not found":                                                       false,
		"no space left on device":                                                            false,
		"":                                                                                   false,
	} {
		if got := (&RemoteError{Message: message, Start: startFailure(message)}).NotRunning(); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
}

func TestRemoteError_Cause(t *testing.T) {
	const containerd = `Internal error occurred: error executing command in container: failed to exec in container: ` +
		`failed to start exec "4f": OCI runtime exec failed: exec failed: unable to start container process: `
	tests := []struct{ name, message, want string }{
		{
			"runc", containerd + `exec: "x": executable file not found in $PATH: unknown`,
			`exec: "x": executable file not found in $PATH`,
		},
		{
			"not executable", containerd + `exec: "/etc/passwd": permission denied: unknown`,
			`exec: "/etc/passwd": permission denied`,
		},
		{
			"crun", "OCI runtime exec failed: exec failed: executable file `x` not found in $PATH: No such file: unknown",
			"exec failed: executable file `x` not found in $PATH: No such file",
		},
		{"unknown form", " it did not work\n", "it did not work"},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (&RemoteError{Message: tt.message}).Cause(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
