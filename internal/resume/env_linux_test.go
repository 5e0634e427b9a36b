package resume

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/agent"
)

// A variable with IfKnown is set only if the container knows its value, and TERM
// is replaced.
func TestStart_IfKnown(t *testing.T) {
	tests := []struct {
		name     string
		terminfo []string // entries of the terminfo database
		locales  []string // directories of locales
		env      []string
		want     string // TERM, LC_TIME and A of the command
	}{
		{"unknown locale, no database", nil, nil, []string{"?TERM=ghostty", "?LC_TIME=xx_YY.UTF-8"}, "ghostty|unset|unset"},
		{"known terminal", []string{"g/ghostty", "x/xterm"}, nil, []string{"?TERM=ghostty"}, "ghostty|unset|unset"},
		{
			"unknown terminal",
			[]string{"x/xterm-256color", "x/xterm"},
			nil,
			[]string{"?TERM=ghostty"},
			"xterm-256color|unset|unset",
		},
		{"only xterm", []string{"78/xterm"}, nil, []string{"?TERM=/a *$(b)"}, "xterm|unset|unset"},
		{"known locale", nil, []string{"xx_YY.utf8"}, []string{"A=?x  y*", "?LC_TIME=xx_YY.UTF-8"}, "vt|xx_YY.UTF-8|?x  y*"},
		{"locale archive", nil, []string{"locale-archive"}, []string{"?LC_TIME=xx_YY.UTF-8"}, "vt|xx_YY.UTF-8|unset"},
	}
	eachShell(t, func(t *testing.T, sh shell) {
		for _, tt := range tests {
			root := t.TempDir()
			for _, name := range tt.terminfo {
				makeDirs(t, filepath.Join(root, "terminfo", name))
			}
			for _, name := range tt.locales {
				makeDirs(t, filepath.Join(root, "locale", name))
			}
			s := newStart(t, "sh", "-c", `echo "$TERM|${LC_TIME-unset}|${A-unset}|$*"`, "sh", "env=?TERM=x", "--", "env=?B=x")
			s.Env = append([]string{"TERM=vt"}, tt.env...)
			d := sh.beginWith(t, s, strings.NewReplacer("/etc/terminfo", root+"/none", "~/.terminfo", root+"/none",
				"/lib/terminfo", root+"/none", "/usr/share/terminfo", root+"/terminfo", "/usr/lib/locale", root+"/locale"))
			if err := d.run(); err != nil {
				t.Fatalf("%s: %v (stderr: %s)", tt.name, err, &d.stderr)
			}
			a := d.attach()
			a.wait()
			if diff := cmp.Diff(tt.want+"|env=?TERM=x -- env=?B=x\n", a.out[agent.Stdout].String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
			d.wait()
		}
	})
}

func makeDirs(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}
