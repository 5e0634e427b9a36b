package exact

import (
	"bytes"
	"errors"
	"os/exec"
	"testing"
)

func TestTerminalScript(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		for _, test := range []struct {
			name, dir string
			args      []string
			want      string
			state     State
			code      int
		}{
			{
				"a command", "/",
				[]string{"sh", "-c", `echo "$A|${LC_TIME-unset}|$(pwd)|$*"; exit 5`, "sh", "x  y", ""},
				"two words|unset|/|x  y \n", Running, 5,
			},
			{"no such directory", "/no/such", []string{"sh"}, "", NoDirectory, 0},
			{"no such command", "", []string{"no-such"}, "", NoCommand, 0},
		} {
			s := NewShell([]string{"A=two words", IfLocaleExists + "LC_TIME=xx_YY.UTF-8"}, test.dir)
			var out bytes.Buffer
			args := s.Command(test.args)
			cmd := exec.CommandContext(t.Context(), sh.path, args[1:]...)
			terminal := s.Output(&out)
			cmd.Env, cmd.Stdout, cmd.Stderr = sh.env, terminal, terminal
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if out.String() != test.want || s.State() != test.state || cmd.ProcessState.ExitCode() != test.code {
				t.Errorf("%s: %q, state %v, %v; want %q, %v, %d",
					test.name, out.String(), s.State(), err, test.want, test.state, test.code)
			}
		}
	})
}

func TestProbeCommand_NotInContainer(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		cmd := exec.CommandContext(t.Context(), sh.path, ProbeCommand()[1:]...)
		cmd.Env = sh.env
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() == NoneLeft {
			t.Errorf("%v", err)
		}
	})
}
