//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/sandbox"
)

// noisyPlugin is a credential plugin that writes to stderr each time it is run,
// and logs whether its stdin is a terminal, and in which mode.
const noisyPlugin = `#!/bin/sh
modes=none
if [ -t 0 ]; then case $(stty -a) in *-icanon*) modes=raw ;; *) modes=cooked ;; esac; fi
echo $modes >>"$LOG"
echo NOISE >&2
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
printf '"status":{"token":"%s"}}' "$(cat "$TOKEN")"
`

// withNoisyPlugin returns a kubeconfig whose user runs noisyPlugin, and the log
// of the plugin.
func withNoisyPlugin(t *testing.T, s *sandbox.Server, mode clientcmdapi.ExecInteractiveMode) (kubeconfig, log string) {
	t.Helper()
	token := writeFile(t, "token", s.Token("admin"), 0o600)
	log = filepath.Join(t.TempDir(), "log")
	kubeconfig = kubeconfigOf(t, s, func(all *clientcmdapi.Config, _ *clientcmdapi.Cluster) {
		all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: writeFile(t, "plugin", noisyPlugin, 0o700),
			InteractiveMode: mode,

			Env: []clientcmdapi.ExecEnvVar{{Name: "TOKEN", Value: token}, {Name: "LOG", Value: log}},
		}}
	})
	return kubeconfig, log
}

// Ten commands share one run of the plugin. Each command takes long enough for
// kshell to watch its pod.
func TestCredentialPlugin_ManyPodsShareOneRun(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{Empty: true})
	for i := range 10 {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
		p.Name, p.Labels = fmt.Sprintf("many-%d", i), map[string]string{"app": "many"}
		if err := s.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
	path, log := withNoisyPlugin(t, s, clientcmdapi.IfAvailableExecInteractiveMode)
	cmd := command(t, s, "--kubeconfig", path, "exec", "-l", "app=many", "--all", "--", "sh", "-c", "sleep 1.5; echo fine")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || strings.Count(string(out), "fine\n") != 10 || stderr.String() != "NOISE\n" {
		t.Errorf("%v, stdout %q, stderr %s", err, out, &stderr)
	}
	mustLog(t, log, "none")
}

// If the server refuses a request that kshell makes during a shell, the plugin
// is run again. It does not get the terminal, and its stderr is not shown.
func TestCredentialPlugin_QuietDuringShell(t *testing.T) {
	t.Parallel()
	for _, mode := range []clientcmdapi.ExecInteractiveMode{
		clientcmdapi.IfAvailableExecInteractiveMode, clientcmdapi.NeverExecInteractiveMode,
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			path, log := withNoisyPlugin(t, s, mode)
			refused := unauthorized
			refused.Path = "/exec" // does not match the request for the shell, which ends in /attach
			s.Inject(refused)
			c := open(t, s, program(t), append([]string{"--kubeconfig", path}, onNode()...)...)
			c.run("echo up''to", "upto\r\n")
			c.prompt()
			var runs []string
			for stop := time.Now().Add(deadline); len(runs) < 2 && time.Now().Before(stop); time.Sleep(10 * time.Millisecond) {
				text, _ := os.ReadFile(log)
				runs = strings.Fields(string(text))
			}
			c.mustBeRaw()
			c.keys("exit 3\r")
			c.mustEnd(3)
			first := map[bool]string{true: "cooked", false: "none"}[mode == clientcmdapi.IfAvailableExecInteractiveMode]
			mustLog(t, log, first, "none")
			c.mu.Lock()
			defer c.mu.Unlock()
			if n := strings.Count(string(c.text), "NOISE"); n != 1 {
				t.Errorf("the output of the plugin appears %d times, want once, before the shell:\n%q", n, c.text)
			}
		})
	}
}

// A plugin that asks for a password is run once for a shell and the requests
// made during it.
func TestCredentialPlugin_AsksOnceForANodeShell(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	path, _, log := withPlugin(t, s, "admin", true)
	c := open(t, s, program(t), append([]string{"--kubeconfig", path}, onNode()...)...)
	c.waitFor("Password: ")
	c.keys("sesame\r")
	c.run("echo up''to", "upto\r\n")
	c.prompt()
	c.keys("exit 4\r")
	c.mustEnd(4)
	mustLog(t, log, "cooked")
}

// certPlugin is a credential plugin that gives a client certificate.
const certPlugin = `#!/bin/sh
echo run >>"$LOG"
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
printf '"status":{"clientCertificateData":"%s","clientKeyData":"%s"}}' "$CERT" "$KEY"
`

// Requests made during a shell also send the client certificate of a plugin.
// Here, the server requires a client certificate.
func TestCredentialPlugin_ClientCertificateDuringShell(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	cert, key := certificateFor(t, "admin")
	address, trust := startCertProxy(t, s, cert)
	log := filepath.Join(t.TempDir(), "log")
	inJSON := func(text []byte) string { return strings.ReplaceAll(string(text), "\n", `\n`) }
	path := kubeconfigOf(t, s, func(all *clientcmdapi.Config, c *clientcmdapi.Cluster) {
		c.Server, c.CertificateAuthority, c.CertificateAuthorityData = address, "", trust
		all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: writeFile(t, "plugin", certPlugin, 0o700),
			InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode,
			Env: []clientcmdapi.ExecEnvVar{
				{Name: "LOG", Value: log}, {Name: "CERT", Value: inJSON(cert)}, {Name: "KEY", Value: inJSON(key)},
			},
		}}
	})
	c := open(t, s, program(t), append([]string{"--kubeconfig", path}, onNode()...)...)
	c.run("echo up''to", "upto\r\n")
	c.prompt()
	c.keys("exit 4\r")
	c.mustEnd(4)
	mustLog(t, log, "run")
}
