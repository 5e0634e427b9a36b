//go:build unix

package contract

import (
	"os"
	"slices"
	"strings"
	"testing"

	"kshell/test/faultproxy"
)

// slowLink is the rate of a link on which the upload of the agent takes longer
// than 5 s, in bytes per second.
const slowLink = 64_000

// resumeSlowUpload starts sessions over a slow link.
func resumeSlowUpload(t *testing.T, w ResumeSetup) {
	for name, test := range map[string]func(t *testing.T, w ResumeSetup, proxy *faultproxy.Proxy, args []string){
		"auto": func(t *testing.T, w ResumeSetup, _ *faultproxy.Proxy, args []string) {
			r := w.Run(t, nil, slices.Concat(args, []string{"--resume=auto", w.Pod(t), "--", "sh", "-c", "cat; exit 3"})...)
			if r.Code != 3 || !strings.Contains(r.Err, "the upload of the agent would take ") {
				t.Errorf("%+v", r)
			}
		},
		"Ctrl-C": func(t *testing.T, w ResumeSetup, _ *faultproxy.Proxy, args []string) {
			term := w.Open(t, slices.Concat(args, []string{"-it", w.Pod(t), "--", "sh"})...)
			term.WaitFor(`uploading the session agent`)
			term.Type("\x03")
			term.CheckExit(130)
		},
		"cut": func(t *testing.T, w ResumeSetup, proxy *faultproxy.Proxy, args []string) {
			term := w.Open(t, slices.Concat(args, []string{"-it", w.Pod(t), "--", "sh"})...)
			term.WaitFor(`uploading the session agent`)
			proxy.Rate(faultproxy.ToServer, 0)
			proxy.Cut(faultproxy.Both, faultproxy.RST)
			term.Type("echo o''k\r")
			term.WaitFor(`ok\r\n`)
			term.exitShell(4)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, dir := w.inDir(t)
			proxy, server := w.Through(t)
			proxy.Rate(faultproxy.ToServer, slowLink)
			test(t, w, proxy, w.resumed(t, server...))
			if dir == "" {
				return
			}
			withTimeLimit(t, "nothing is left in the directory", func() bool {
				entries, err := os.ReadDir(dir)
				return err == nil && len(entries) == 0
			})
		})
	}
}
