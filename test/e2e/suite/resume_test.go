package suite

import (
	"context"
	"flag"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

var transfers = flag.Int("transfers", 0, "number of transfers of two minutes with sessions of --resume")

// resumeSetup returns the settings for sessions of --resume with one of the API
// servers.
func resumeSetup(s harness.Server) contract.ResumeSetup {
	return contract.ResumeSetup{Setup: setup(s)}
}

// onResumePaths runs a test on each path to a container: with both API servers, and
// over SPDY.
func onResumePaths(t *testing.T, test func(t *testing.T, w contract.ResumeSetup)) {
	onServers(t, func(t *testing.T, s harness.Server) { test(t, resumeSetup(s)) })
	t.Run("SPDY", func(t *testing.T) {
		w := resumeSetup(harness.MainServer)
		w.Flags = []string{"--context", harness.DevCreate}
		test(t, w)
	})
}

func TestResume(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		t.Parallel()
		contract.Resume(t, resumeSetup(s))
	})
}

func TestResume_Same(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		t.Parallel()
		contract.ResumeSame(t, resumeSetup(s), createReady(t, sleeper("")), "sh")
	})
}

// TestResume_Cuts cuts connections at random times: with -trials 20 or more, 200
// times while 1000 keys are typed.
func TestResume_Cuts(t *testing.T) {
	notInCI(t)
	keys, cuts := 100, 10
	if *trials >= 20 {
		keys, cuts = 1000, 200
	}
	onResumePaths(t, func(t *testing.T, w contract.ResumeSetup) {
		t.Run("keys", func(t *testing.T) {
			t.Parallel()
			contract.ResumeKeys(t, w, keys, cuts)
		})
		t.Run("transfer", func(t *testing.T) {
			t.Parallel()
			contract.ResumeTransfer(t, w,
				contract.Transfer{In: 4_000_000, Out: 10_000_000, Duration: 20 * time.Second, Cuts: 10})
		})
	})
}

// TestResume_Transfers runs commands of two minutes, with 50 MB of output, 20 MB of
// input and 40 cuts: -transfers of them on each path.
func TestResume_Transfers(t *testing.T) {
	notInCI(t)
	onResumePaths(t, func(t *testing.T, w contract.ResumeSetup) {
		for range *transfers {
			t.Run("transfer", func(t *testing.T) {
				t.Parallel()
				contract.ResumeTransfer(t, w,
					contract.Transfer{In: 20_000_000, Out: 50_000_000, Duration: 2 * time.Minute, Cuts: 40})
			})
		}
	})
}

func TestResume_Durations(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		w := resumeSetup(s)
		if took := contract.ResumeReset(t, w, *resets); took > time.Second {
			t.Errorf("in the same shell after %v", took)
		}
		for rate, limit := range map[int]time.Duration{64_000: 2 * time.Second, 1_000_000: 500 * time.Millisecond} {
			took := contract.ResumeInterrupt(t, w, rate)
			t.Logf("%d kB/s: a prompt %v after Ctrl-C", rate/1000, took)
			if took > limit {
				t.Errorf("%d kB/s: a prompt %v after Ctrl-C", rate/1000, took)
			}
		}
		plain, first, again := contract.ResumeFirstPrompt(t, w, 5)
		t.Logf("the first prompt: plain %v, --resume %v, with an agent that was uploaded before %v", plain, first, again)
		plain, resumed := contract.ResumeBulk(t, w, 256<<20)
		t.Logf("256 MiB: plain %v, --resume %v", plain, resumed)
	})
}

// TestResume_Containers checks containers that can run the agent, and containers that
// cannot: then exec runs the command without the agent, and the message has the reason.
func TestResume_Containers(t *testing.T) {
	notInCI(t)
	yes, no, user := true, false, int64(1234)
	readOnly := func() *corev1.Pod {
		p := sleeper("")
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			ReadOnlyRootFilesystem: &yes, RunAsUser: &user, AllowPrivilegeEscalation: &no,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
		return p
	}
	withVolume := readOnly()
	withVolume.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{},
	}}}
	withVolume.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}}
	small := sleeper("")
	small.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("24Mi")}
	noShell := sleeper("")
	noShell.Spec.Containers[0].Image = harness.NoShellImage
	noShell.Spec.Containers[0].Command = []string{"/sleep", "infinity"}
	fewPIDs := sleeper("")
	fewPIDs.Spec.Containers[0] = busyboxContainer("main", "sh", "-c",
		"mount -o remount,rw /sys/fs/cgroup; echo 12 >/sys/fs/cgroup/pids.max; exec sleep infinity")
	fewPIDs.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	for name, test := range map[string]struct {
		pod     *corev1.Pod
		command []string
		reason  string // why the agent cannot be used; "": it can
	}{
		"a read-only root with a volume":      {withVolume, []string{"sh", "-c", "exit 3"}, ""},
		"a read-only root":                    {readOnly(), []string{"sh", "-c", "exit 3"}, "director"},
		"little memory":                       {small, []string{"sh", "-c", "exit 3"}, "memory"},
		"no shell":                            {noShell, []string{"/exit", "3"}, "the container has no sh"},
		"few processes":                       {fewPIDs, []string{"sh", "-c", "exit 3"}, "processes"},
		"another user, with a writable image": {userPod(user), []string{"sh", "-c", "exit 3"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := createReady(t, test.pod)
			onEach(t, func(t *testing.T, p contract.Program) {
				run := func(mode string) contract.Result {
					return p.Run(t, nil, slices.Concat([]string{"exec", "--resume=" + mode, pod, "--"}, test.command)...)
				}
				auto, always := run("auto"), run("always")
				t.Logf("auto: %+v\nalways: %+v", auto, always)
				switch {
				case auto.Code != 3:
					t.Errorf("auto: %+v", auto)
				case test.reason == "" && (auto.Err != "" || always.Code != 3):
					t.Errorf("auto: %+v\nalways: %+v", auto, always)
				case test.reason != "" && (!strings.Contains(auto.Err, "cannot be used: ") ||
					!strings.Contains(auto.Err, test.reason) || always.Code != 255 ||
					!strings.Contains(always.Err, test.reason)):
					t.Errorf("auto: %+v\nalways: %+v", auto, always)
				}
				if test.pod != noShell {
					if alive, dead := remainingIn(t, pod, waitTimeout); len(alive)+len(dead) > 0 {
						t.Errorf("left in the container: %q, zombies %q", alive, dead)
					}
				}
			})
		})
	}
}

// userPod returns a pod that sleeps as a user.
func userPod(user int64) *corev1.Pod {
	p := sleeper("")
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: &user}
	return p
}

// TestResume_PodEvents checks a session whose container restarts, and one whose pod is
// deleted.
func TestResume_PodEvents(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		t.Run("the container restarts", func(t *testing.T) {
			t.Parallel()
			spec := sleeper("")
			spec.Spec.Containers[0] = busyboxContainer("main", "sh", "-c",
				"trap 'exit 3' TERM; while :; do sleep 0.1; done")
			pod := createReady(t, spec)
			term := shellIn(t, p, "--resume=always", pod)
			term.Type("kill 1\r")
			if code := term.Exit(); code != 137 && code != 255 {
				t.Errorf("exit code %d", code)
			}
			text := term.Text()
			if !strings.Contains(text, "ended with exit code 3") || strings.Contains(text, "the same shell") {
				t.Errorf("the terminal: %q", text)
			}
		})
		for how, remove := range deletions {
			t.Run("the pod is deleted, "+how, func(t *testing.T) {
				t.Parallel()
				pod := createReady(t, sleeper(""))
				term := shellIn(t, p, "--resume=always", pod)
				must(t, remove(t.Context(), t, pod))
				if code := term.Exit(); code != 137 && code != 255 {
					t.Errorf("exit code %d", code)
				}
				if text := term.Text(); !strings.Contains(text, pod) || strings.Contains(text, "the same shell") {
					t.Errorf("the terminal: %q", text)
				}
			})
		}
	})
}

// TestResume_Restarts restarts components of the cluster. The session continues, and
// no relay remains in the container.
func TestResume_Restarts(t *testing.T) {
	notInCI(t)
	restarts := map[string]func(ctx context.Context, t *testing.T){
		"kubelet": func(ctx context.Context, t *testing.T) {
			must(t, cluster.StopKubelet(ctx, faultyNode, syscall.SIGKILL))
			must(t, cluster.StartKubelet(faultyNode))
		},
		"containerd": func(ctx context.Context, t *testing.T) {
			must(t, cluster.RestartContainerd(ctx, faultyNode))
		},
		"main API server": func(ctx context.Context, t *testing.T) {
			must(t, cluster.StopAPIServer(ctx, harness.MainServer, syscall.SIGKILL))
			must(t, cluster.StartAPIServer(ctx, harness.MainServer))
		},
		"translating API server": func(ctx context.Context, t *testing.T) {
			must(t, cluster.StopAPIServer(ctx, harness.TranslatingServer, syscall.SIGKILL))
			must(t, cluster.StartAPIServer(ctx, harness.TranslatingServer))
		},
	}
	for name, restart := range restarts {
		t.Run(name, func(t *testing.T) {
			ctx := breaksCluster(t)
			pod := createReady(t, sleeper(faultyNode))
			var shells []*contract.Terminal
			for _, way := range apiPaths() {
				term := shellIn(t, program(way.kubeconfig), "--resume=always", "--resume-timeout=5m", pod)
				term.Type("mine=old\r")
				term.WaitFor(`ready\$ `)
				shells = append(shells, term)
			}
			restart(ctx, t)
			for _, term := range shells {
				term.Type("echo kept=$mine.\r")
				term.WaitForWithin(2*time.Minute, `kept=old\.`)
			}
			alive, _ := remainingIn(t, pod, 0)
			t.Logf("processes with two sessions: %q", alive)
			for _, term := range shells {
				term.Type("exit 3\r")
				term.CheckExit(3)
			}
			if alive, dead := remainingIn(t, pod, waitTimeout); len(alive) > 0 || len(dead) > 2 {
				t.Errorf("left in the container: %q, zombies %q", alive, dead)
			}
		})
	}
}
