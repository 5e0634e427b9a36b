package suite

import (
	"context"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

// oneMessage matches stderr after a failure: one message, and at most one hint.
var oneMessage = regexp.MustCompile(`^kshell: [^\n]+\n(hint: [^\n]+\n)?$`)

// podWarnings matches warnings about the pod at the beginning of stderr.
var podWarnings = regexp.MustCompile(`^(?:kshell: warning: (?:pod|container) "[^\n]+\n)*`)

// deletions are the ways to delete a pod.
var deletions = map[string]func(ctx context.Context, t *testing.T, pod string) error{
	"graceful": func(ctx context.Context, t *testing.T, pod string) error {
		return clientset(t).CoreV1().Pods(harness.Namespace).Delete(ctx, pod, metav1.DeleteOptions{})
	},
	"forced": func(ctx context.Context, t *testing.T, pod string) error {
		now := int64(0)
		return clientset(t).CoreV1().Pods(harness.Namespace).Delete(ctx, pod, metav1.DeleteOptions{GracePeriodSeconds: &now})
	},
	"evicted": func(ctx context.Context, t *testing.T, pod string) error {
		return clientset(
			t,
		).CoreV1().
			Pods(harness.Namespace).
			EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod}})
	},
}

func TestPods_DeletedDuringCommand(t *testing.T) {
	notInCI(t)
	for how, remove := range deletions {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			pod := createReady(t, sleeper(""))
			sessions := map[string]map[string]*background{
				"a command that prints": startOnBoth(t, "exec", pod, "--", "sh", "-c",
					"echo started; "+countScript(1_000_000, "sleep 0.1")),
				"a command that waits": startOnBoth(t, "exec", pod, "--", "sh", "-c", "echo started; sleep 600"),
				"a command that would end well": startOnBoth(t, "exec", pod, "--", "sh", "-c",
					"trap 'exit 0' TERM; echo started; while :; do sleep 0.1; done"),
			}
			for _, both := range sessions {
				for _, l := range both {
					l.waitForStdout(t, "started\n")
				}
			}
			must(t, remove(t.Context(), t, pod))
			for what, both := range sessions {
				t.Run(what, func(t *testing.T) {
					checkEach(t, both, shortTimeout, func(t *testing.T, r contract.Result) {
						switch {
						case jargon.MatchString(r.Err):
							t.Errorf("stderr %q", r.Err)
						case r.Code == 137 && podWarnings.MatchString(r.Err):
						case r.Code == 255 && oneMessage.MatchString(podWarnings.ReplaceAllString(r.Err, "")):
						default:
							t.Errorf("exit code %d, want 137 or 255 and one message, besides warnings about the pod; stderr %q", r.Code,
								r.Err)
						}
					})
				})
			}
		})
	}
}

// createDeployment creates a deployment whose pods have the label kshell with
// this value, and returns its name.
func createDeployment(t *testing.T, label string, pods int32) string {
	t.Helper()
	apps := clientset(t).AppsV1().Deployments(harness.Namespace)
	labels := map[string]string{"kshell": label}
	made, err := apps.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "suite-"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &pods, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: sleeper("").Spec},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
		defer cancel()
		if err := apps.Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return made.Name
}

func TestPods_Replacement(t *testing.T) {
	notInCI(t)
	name := createDeployment(t, "suite-replaced", 1)
	newest := func(not string) string {
		var pod string
		eventually(t, "a pod of "+name+" is ready", func(ctx context.Context) (bool, error) {
			pods, err := clientset(
				t,
			).CoreV1().
				Pods(harness.Namespace).
				List(ctx, metav1.ListOptions{LabelSelector: "kshell=suite-replaced"})
			if err != nil {
				return false, err
			}
			for _, p := range pods.Items {
				if isReady(&p) && p.Name != not {
					pod = p.Name
					return true, nil
				}
			}
			return false, nil
		})
		return pod
	}
	onEach(t, func(t *testing.T, p contract.Program) {
		for how, remove := range deletions {
			t.Run(how, func(t *testing.T) {
				old := newest("")
				in := start(t, p, nil, "exec", "deploy/"+name, "--", "sh", "-c", "hostname; exec sleep 600")
				in.waitForStdout(t, old+"\n")
				must(t, remove(t.Context(), t, old))
				next := newest(old)
				// The old pod may still be terminating: kshell must choose the
				// new one.
				r := p.Run(t, nil, "exec", "deploy/"+name, "--", "sh", "-c", "hostname; exit 6")
				if strings.TrimSpace(r.Out) != next || r.Code != 6 {
					t.Errorf("chose %+v, want %s", r, next)
				}
				if r := in.waitExit(t, shortTimeout); r.Code != 137 && r.Code != 255 {
					t.Errorf("the one in the old pod ended with %d", r.Code)
				}
			})
		}
	})
}
