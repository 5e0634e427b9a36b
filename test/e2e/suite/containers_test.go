package suite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"kshell/internal/stream"
	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

// restartAlways makes an init container a sidecar.
var restartAlways = corev1.ContainerRestartPolicyAlways

// addEphemeral adds an ephemeral container to a pod, and waits until it runs.
func addEphemeral(t *testing.T, pod string, c corev1.EphemeralContainerCommon) {
	t.Helper()
	pods := clientset(t).CoreV1().Pods(harness.Namespace)
	must(
		t,
		retry.RetryOnConflict(retry.DefaultBackoff, func() error { // conflicts with the kubelet, which writes the status
			p, err := pods.Get(t.Context(), pod, metav1.GetOptions{})
			if err != nil {
				return err
			}
			p.Spec.EphemeralContainers = append(
				p.Spec.EphemeralContainers,
				corev1.EphemeralContainer{EphemeralContainerCommon: c},
			)
			_, err = pods.UpdateEphemeralContainers(t.Context(), pod, p, metav1.UpdateOptions{})
			return err
		}),
	)
	waitForPod(t, pod, c.Name+" runs", isRunning(c.Name))
}

// podOfAllKinds creates a pod with a running container of each kind.
func podOfAllKinds(t *testing.T) string {
	t.Helper()
	who := func(c corev1.Container) corev1.Container {
		c.Env = []corev1.EnvVar{{Name: "WHO", Value: c.Name}}
		c.Stdin = true
		return c
	}
	p := sleeper("")
	side := who(busyboxContainer("side", "cat"))
	side.RestartPolicy = &restartAlways
	p.Spec.InitContainers = []corev1.Container{busyboxContainer("first", "true"), side}
	p.Spec.Containers = []corev1.Container{who(busyboxContainer("main", "cat"))}
	name := createReady(t, p)
	addEphemeral(t, name, corev1.EphemeralContainerCommon(who(busyboxContainer("debug", "cat"))))
	return name
}

// initializing creates a pod whose init container runs and reads its stdin.
func initializing(t *testing.T) string {
	t.Helper()
	p := sleeper("")
	prepare := busyboxContainer("prepare", "cat")
	prepare.Stdin, prepare.Env = true, []corev1.EnvVar{{Name: "WHO", Value: "prepare"}}
	p.Spec.InitContainers = []corev1.Container{prepare}
	name := createPod(t, p)
	waitForPod(t, name, "prepare runs", isRunning("prepare"))
	return name
}

func TestContainers_AllKinds(t *testing.T) {
	notInCI(t)
	pod, early := podOfAllKinds(t), initializing(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		for _, c := range []struct{ kind, pod, container string }{
			{"main", pod, "main"},
			{"restartable init", pod, "side"},
			{"ephemeral", pod, "debug"},
			{"running init", early, "prepare"},
			{"running init of the seeds", "initializing", "prepare"},
		} {
			t.Run(c.kind, func(t *testing.T) {
				r := p.Run(t, []byte("in\n"), "exec", "-i", c.pod, "-c", c.container, "--", "sh", "-c",
					"echo ${WHO-prepare}; cat; echo err >&2; exit 7")
				if r.Out != c.container+"\nin\n" || r.Err != "err\n" || r.Code != 7 {
					t.Errorf("got %+v", r)
				}
			})
		}
		t.Run("the chosen container is reported", func(t *testing.T) {
			r := p.Run(t, nil, "exec", pod, "--", "sh", "-c", "echo $WHO")
			if r.Out != "main\n" || r.Code != 0 {
				t.Errorf("got %+v", r)
			}
			for _, other := range []string{`"side" (sidecar container)`, `"debug" (ephemeral container)`} {
				if !strings.Contains(r.Err, other) {
					t.Errorf("stderr lacks %s: %s", other, r.Err)
				}
			}
		})
	})
}

func TestContainers_AllShells(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		for _, c := range []struct {
			name string
			in   string
			args []string
			out  string
			err  []string
			code int
		}{
			{
				name: "bash", args: []string{"bashpod", "--", "bash", "-c", `a=(x y z); echo "${a[2]}"; exit 5`}, out: "z\n",
				code: 5,
			},
			{name: "sh of bash", args: []string{"bashpod", "--", "sh", "-c", "echo hi"}, out: "hi\n"},
			{name: "ash", args: []string{"ashonly", "--", "ash", "-c", "echo hi; exit 6"}, out: "hi\n", code: 6},
			{name: "ash by its path", args: []string{"ashonly", "--", "/bin/ash", "-c", "echo hi"}, out: "hi\n"},
			{
				name: "no sh in an image with ash", args: []string{"ashonly", "--", "sh", "-c", "echo hi"},
				err: []string{`no command "sh"`, "hint: "}, code: 127,
			},
			{
				name: "no shell at all", args: []string{"noshell", "--", "sh", "-c", "echo hi"},
				err: []string{`no command "sh"`, "hint: "}, code: 127,
			},
			{
				name: "no bash at all", args: []string{"noshell", "--", "/bin/bash"},
				err: []string{`no command "/bin/bash"`, "hint: "}, code: 127,
			},
			{
				name: "a static binary", args: []string{"noshell", "--", "/hello"},
				out: "hello from a container without a shell\n",
			},
			{
				name: "its arguments", args: []string{"noshell", "--", "/args", "a b", "*", "$HOME", "ü"},
				out: "a b\n*\n$HOME\nü\n",
			},
			{name: "its input", in: "one\ntwo", args: []string{"-i", "noshell", "--", "/cat"}, out: "one\ntwo"},
			{name: "its exit code", args: []string{"noshell", "--", "/exit", "42"}, code: 42},
		} {
			t.Run(c.name, func(t *testing.T) {
				var in []byte
				if c.in != "" {
					in = []byte(c.in)
				}
				checkResult(t, p.Run(t, in, append([]string{"exec"}, c.args...)...), c.out, c.err, c.code)
			})
		}
	})
}

// checkResult checks the exit code, stdout, and that stderr contains each
// string in words. If words is empty, stderr must be empty.
func checkResult(t *testing.T, r contract.Result, out string, words []string, code int) {
	t.Helper()
	if r.Out != out || r.Code != code {
		t.Errorf("exit code %d, want %d; stdout %q, want %q; stderr %s", r.Code, code, r.Out, out, r.Err)
	}
	for _, w := range words {
		if !strings.Contains(r.Err, w) {
			t.Errorf("stderr lacks %q: %s", w, r.Err)
		}
	}
	if len(words) == 0 && r.Err != "" {
		t.Errorf("stderr is not empty: %s", r.Err)
	}
}

func TestContainers_CommandCannotStart(t *testing.T) {
	notInCI(t)
	pod := createReady(t, sleeper(""))
	files := `cd /tmp && mkdir dir && ln -s loop ./loop && ln -s gone dangling &&
		echo plain >plain && chmod 644 plain &&
		printf '\177ELF this is no program' >garbage && printf 'echo hi\n' >noline && : >empty &&
		printf '#!/no/such/interpreter\n' >orphan && chmod 755 garbage noline empty orphan`
	if r := program(cluster.Kubeconfig()).Run(t, nil, "exec", pod, "--", "sh", "-c", files); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	onEach(t, func(t *testing.T, p contract.Program) {
		for _, c := range []struct {
			name, file string
			err        []string
			code       int
		}{
			{"not in PATH", "no-such-command", []string{`no command "no-such-command"`, "hint: "}, 127},
			{"no such file", "/tmp/nothing", []string{`no command "/tmp/nothing"`}, 127},
			{"no such directory", "/nowhere/nothing", []string{`no command "/nowhere/nothing"`}, 127},
			{"a dangling link", "/tmp/dangling", []string{`no command "/tmp/dangling"`}, 127},
			{"not executable", "/tmp/plain", []string{`could not run "/tmp/plain"`, "permission denied"}, 126},
			{"a directory", "/tmp/dir", []string{`could not run "/tmp/dir"`}, 126},
			{"below a file", "/tmp/plain/x", []string{`could not run "/tmp/plain/x"`, "not a directory"}, 126},
			{"a link to itself", "/tmp/loop", []string{`could not run "/tmp/loop"`, "too many levels of symbolic links"}, 126},
		} {
			t.Run(c.name, func(t *testing.T) {
				checkResult(t, p.Run(t, nil, "exec", pod, "--", c.file), "", c.err, c.code)
			})
		}
		// Without exact mode, the runtime's helper has already started when the
		// kernel refuses to run the file: the error is on the command's stderr,
		// and the exit code is 1. In exact mode, a shell starts the command. A
		// shell runs a file without a #! line as a script.
		for _, c := range []struct {
			name, file, err string
			out, exactErr   string
			exactCode       int
		}{
			{"no program", "/tmp/garbage", "exec /tmp/garbage: exec format error", "", "not found", 127},
			{"a script without a #! line", "/tmp/noline", "exec /tmp/noline: exec format error", "hi\n", "", 0},
			{"an empty file", "/tmp/empty", "exec /tmp/empty: exec format error", "", "", 0},
			{
				"a script whose interpreter does not exist", "/tmp/orphan", "exec /tmp/orphan: no such file or directory", "",
				"/tmp/orphan: not found", 127,
			},
		} {
			t.Run(c.name, func(t *testing.T) {
				checkResult(t, p.Run(t, nil, "exec", "--exact=never", pod, "--", c.file), "", []string{c.err}, 1)
				var words []string
				if c.exactErr != "" {
					words = []string{c.exactErr}
				}
				checkResult(t, p.Run(t, nil, "exec", pod, "--", c.file), c.out, words, c.exactCode)
			})
		}
	})
}

func TestContainers_NotRunning(t *testing.T) {
	notInCI(t)
	p := sleeper("")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Containers = append(p.Spec.Containers, busyboxContainer("gone", "sh", "-c", "exit 4"))
	p.Spec.InitContainers = []corev1.Container{busyboxContainer("first", "true")}
	half := createPod(t, p)
	waitForPod(t, half, "one container has ended and one runs", func(p *corev1.Pod) bool {
		return stateOf(p, "gone").Terminated != nil && stateOf(p, "main").Running != nil
	})
	failed := sleeper("")
	failed.Spec.RestartPolicy = corev1.RestartPolicyNever
	failed.Spec.Containers = []corev1.Container{busyboxContainer("main", "sh", "-c", "exit 5")}
	dead := createPod(t, failed)
	waitForPod(t, dead, "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	onEach(t, func(t *testing.T, p contract.Program) {
		for _, c := range []struct {
			name string
			args []string
			err  []string
		}{
			{
				"init container finished",
				[]string{"with-init", "-c", "init"},
				[]string{`init container "init" of pod "with-init" has ended with exit code 0`, "kubectl logs with-init -c init"},
			},
			{
				"init container finished, in a new pod",
				[]string{half, "-c", "first"},
				[]string{`init container "first"`, "has ended with exit code 0"},
			},
			{
				"waits for an init container",
				[]string{"initializing"},
				[]string{
					`"main" of pod "initializing" is waiting for init container "prepare"`,
					"kubectl logs initializing -c prepare",
				},
			},
			{
				"terminated beside one that runs",
				[]string{half, "-c", "gone"},
				[]string{`container "gone"`, "has ended with exit code 4", "kubectl logs"},
			},
			{
				"pod completed",
				[]string{"completed"},
				[]string{`pod "completed" has completed`, "exit code 0", "kubectl logs completed"},
			},
			{"pod failed", []string{dead}, []string{"has failed", "exit code 5", "kubectl logs"}},
			{
				"pending",
				[]string{"pending"},
				[]string{`pod "pending" is not scheduled`, "Unschedulable", "kubectl describe pod pending"},
			},
			{"pulling", []string{"pulling"}, []string{`"pulling" is waiting`, "ImagePull", "kubectl describe pod pulling"}},
			{
				"crash-looping",
				[]string{"crash"},
				[]string{`container "crash" of pod "crash"`, "ended with exit code 3", "kubectl logs crash"},
			},
		} {
			t.Run(c.name, func(t *testing.T) {
				if c.args[0] == "crash" {
					waitForPod(t, "crash", "waits for its next try",
						func(p *corev1.Pod) bool { return stateOf(p, "crash").Waiting != nil })
				}
				r := p.Run(t, nil, append(append([]string{"exec", "--pod-running-timeout=0"}, c.args...), "--", "true")...)
				checkResult(t, r, "", append(c.err, "hint: "), 255)
				if n := strings.Count(r.Err, "kshell: "); n != 1 {
					t.Errorf("%d messages: %s", n, r.Err)
				}
			})
		}
	})
}

// attachment is a connection that is attached to a container. It uses the
// session type of kshell's package stream.
type attachment struct {
	keys    *io.PipeWriter
	out     notifyingBuffer
	size    atomic.Uint32 // columns << 16 | rows
	resized chan struct{} // receives after a change of the size
	stop    context.CancelCauseFunc
	end     chan error
}

var errDetached = errors.New("detached")

// attach attaches to a container as a user, through an API server.
func attach(t *testing.T, user string, s harness.Server, pod, container string, tty bool) *attachment {
	t.Helper()
	cfg, err := cluster.Config(user, s)
	must(t, err)
	dialer, err := stream.NewDialer(cfg)
	must(t, err)
	request := stream.Request{
		Path: "/api/v1/namespaces/" + harness.Namespace + "/pods/" + pod + "/attach",
		Query: url.Values{
			"container": {container}, "stdin": {"true"}, "stdout": {"true"},
			"stderr": {strconv.FormatBool(!tty)}, "tty": {strconv.FormatBool(tty)},
		},
		Protocols: stream.Protocols(),
	}
	in, keys := io.Pipe()
	a := &attachment{keys: keys, resized: make(chan struct{}, 1), end: make(chan error, 1)}
	set := stream.Settings{
		LinkSettings: stream.LinkSettings{Reconnect: stream.ReconnectNever},
		Stdin:        closingInput{in}, Stdout: &a.out,
	}
	if tty {
		a.size.Store(80<<16 | 24)
		set.Window = a
	}
	session := stream.NewSession(&attachDriver{dialer, request}, nil, set)
	ctx, stop := context.WithCancelCause(context.Background())
	a.stop = stop
	go func() { a.end <- session.Run(ctx) }()
	t.Cleanup(func() { stop(errDetached) })
	return a
}

// attachDriver is the stream.Driver of an attachment.
type attachDriver struct {
	dialer  *stream.Dialer
	request stream.Request
}

func (d *attachDriver) Dial(ctx context.Context) (*stream.Conn, error) {
	return d.dialer.Dial(ctx, d.request)
}
func (d *attachDriver) Opened(context.Context, *stream.Conn) error { return nil }
func (d *attachDriver) Ended(_ context.Context, err error) error   { return err }

// closingInput is stdin that is closed to cancel a Read.
type closingInput struct{ *io.PipeReader }

func (in closingInput) Cancel() bool { return in.Close() == nil }

// Size implements stream.Window.
func (a *attachment) Size() (width, height uint16, ok bool) {
	s := a.size.Load()
	return uint16(s >> 16), uint16(s), true
}

// Resized implements stream.Window.
func (a *attachment) Resized() <-chan struct{} { return a.resized }

func (a *attachment) typeKeys(t *testing.T, keys string) {
	t.Helper()
	_, err := io.WriteString(a.keys, keys)
	must(t, err)
}

func (a *attachment) waitForOutput(t *testing.T, words string) {
	t.Helper()
	eventually(t, "the attach shows "+strconv.Quote(words), func(context.Context) (bool, error) {
		select {
		case err := <-a.end:
			a.end <- err
			t.Fatalf("attach ended before it showed %q: %v; it showed %.500q", words, err, a.out.String())
		default:
		}
		has, _ := a.out.has(words)
		return has, nil
	})
}

func (a *attachment) resize(width, height uint16) {
	a.size.Store(uint32(width)<<16 | uint32(height))
	a.resized <- struct{}{}
}

// detach ends the attach from the client.
func (a *attachment) detach(t *testing.T) {
	t.Helper()
	a.stop(errDetached)
	if err := <-a.end; !errors.Is(err, errDetached) {
		t.Errorf("detached: %v", err)
	}
}

// waitEnd waits until the server ends the attach, and returns the error.
func (a *attachment) waitEnd(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	select {
	case err := <-a.end:
		return err
	case <-ctx.Done():
		t.Fatalf("attach has not ended; it showed %.500q", a.out.String())
		return nil
	}
}

// onServers runs a test with each API server.
func onServers(t *testing.T, test func(t *testing.T, s harness.Server)) {
	for name, s := range map[string]harness.Server{"kubelet": harness.MainServer, "apiserver": harness.TranslatingServer} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

func TestAttach_AllBytes(t *testing.T) {
	notInCI(t)
	pod, early := podOfAllKinds(t), initializing(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		for _, c := range []struct{ kind, pod, container string }{
			{"main", pod, "main"},
			{"restartable init", pod, "side"},
			{"ephemeral", pod, "debug"},
			{"running init", early, "prepare"},
			{"main of the seeds", "pipe", "pipe"},
		} {
			t.Run(c.kind, func(t *testing.T) {
				a := attach(t, harness.DevExec, s, c.pod, c.container, false)
				// cat returns its input. The output of an earlier attach to the
				// same container is not shown again.
				every := make([]byte, 256)
				for i := range every {
					every[i] = byte(i)
				}
				sent := string(bytes.Repeat(every, 40)) + t.Name() + "\n"
				a.typeKeys(t, sent)
				a.waitForOutput(t, t.Name()+"\n")
				if got := a.out.String(); got != sent {
					t.Errorf("%d bytes of %d were returned, or wrong ones", len(got), len(sent))
				}
				a.detach(t)
			})
		}
	})
}

func TestAttach_Shell(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		token := strings.ReplaceAll(t.Name(), "/", "_")
		a := attach(t, harness.DevExec, s, "console", "console", true)
		// The size is sent on another channel than the keys, so it may arrive
		// later.
		a.typeKeys(
			t,
			"until [ \"$(stty size)\" = '24 80' ]; do sleep 0.02; done; stty size; echo first $((40+2))\n",
		)
		a.waitForOutput(t, "24 80\r\nfirst 42\r\n")
		a.resize(133, 44)
		a.typeKeys(
			t,
			"mine="+token+"; until [ \"$(stty size)\" = '44 133' ]; do sleep 0.02; done; stty size; echo resized $((6*7))\n",
		)
		a.waitForOutput(t, "44 133\r\nresized 42\r\n")
		a.detach(t)

		b := attach(t, harness.DevExec, s, "console", "console", true)
		b.typeKeys(t, "echo again $mine; tty; echo $((1+41)) done\n")
		b.waitForOutput(t, "again "+token+"\r\n")
		b.waitForOutput(t, "42 done\r\n")
		if strings.Contains(b.out.String(), "not a tty") {
			t.Error("the console is not a terminal")
		}
		b.detach(t)
	})
}

// An attach ends with Success, whatever the exit code of the process. The code
// is in the status of the pod.
func TestAttach_StatusIsSuccess(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		for _, tty := range []bool{true, false} {
			t.Run("tty "+strconv.FormatBool(tty), func(t *testing.T) {
				p := sleeper("")
				p.Spec.RestartPolicy = corev1.RestartPolicyNever
				shell := busyboxContainer("main", "sh")
				shell.Stdin, shell.TTY = true, tty
				p.Spec.Containers = []corev1.Container{shell}
				pod := createReady(t, p)
				a := attach(t, harness.DevExec, s, pod, "main", tty)
				a.typeKeys(t, "echo here $((40+2))\n")
				a.waitForOutput(t, "here 42")
				a.typeKeys(t, "exit 3\n")
				if err := a.waitEnd(t); err != nil {
					t.Errorf("attach returned %v (%T), want success", err, err)
				}
				ended := waitForPod(t, pod, "ended", func(p *corev1.Pod) bool { return stateOf(p, "main").Terminated != nil })
				if code := stateOf(ended, "main").Terminated.ExitCode; code != 3 {
					t.Errorf("exit code %d in the status of the pod", code)
				}
			})
		}
	})
}

func TestAttach_NotRunning(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		for _, c := range []struct{ name, pod, container, words string }{
			{"init container finished", "with-init", "init", "init"},
			{"waits for an init container", "initializing", "main", "main"},
			{"pod completed", "completed", "completed", "completed"},
			{"no such container", "web", "nobody", "nobody"},
		} {
			t.Run(c.name, func(t *testing.T) {
				err := attach(t, harness.DevExec, s, c.pod, c.container, false).waitEnd(t)
				var refused *stream.HandshakeError
				var remote *stream.RemoteError
				if !errors.As(err, &refused) && !errors.As(err, &remote) || !strings.Contains(err.Error(), c.words) {
					t.Errorf("got %v (%T)", err, err)
				}
				t.Logf("%T: %v", err, err)
			})
		}
	})
}
