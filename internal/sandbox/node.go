package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// NodeImage is an image from which a node can be entered with nsenter. Its
// nsenter runs a command whose PATH has the node's own programs before those of
// the machine. One of the node's programs is hostname, which prints the name of
// the node. Pods with hostPID also use this nsenter, unless the programs of their
// image are limited (see AddImage). Their commands do not enter the namespaces of the
// machine, even if the sandbox runs as root.
const NodeImage = "sandbox/node:1"

// nodeNames are the names of the nodes. Pods without a node name are on the first
// node.
var nodeNames = []string{"node1", "node2"}

// node returns a ready node.
func node(name string) *corev1.Node {
	n := &corev1.Node{TypeMeta: typeMeta("v1", "Node"), ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: newUID(), CreationTimestamp: metav1.Now(),
		Labels: map[string]string{
			"kubernetes.io/hostname":         name,
			"kubernetes.io/os":               "linux",
			"node-role.kubernetes.io/worker": "",
		},
	}}
	n.Status.NodeInfo = corev1.NodeSystemInfo{OperatingSystem: "linux", KubeletVersion: "v1.37.2"}
	n.Status.Conditions = []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"},
	}
	return n
}

// nsenterScript replaces nsenter. NODE stands for the node's directory. With
// -m, the command runs with the PATH and HOME of the node. Without -m, it runs
// with the environment of the container.
const nsenterScript = `#!/bin/sh
while [ "$1" != -- ]; do
	[ "$1" != -m ] || PATH=NODE:$PATH HOME=NODE HISTFILE=/dev/null
	shift
done
shift
export PATH HOME HISTFILE
exec "$@"
`

// nodeProfile is read by login shells on a node, after the files of the machine,
// which set PATH. NODE stands for the node's directory, and NAME for its name.
const nodeProfile = `PATH=NODE:$PATH
PS1='root@NAME:\w# '
export PATH
`

// addNodeImage creates NodeImage: a directory of programs for each node.
func (s *Server) addNodeImage() error {
	for _, name := range nodeNames {
		dir := s.nodeDir(name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := writeScript(filepath.Join(dir, "hostname"), "#!/bin/sh\necho "+name+"\n"); err != nil {
			return err
		}
		profile := strings.ReplaceAll(strings.ReplaceAll(nodeProfile, "NODE", dir), "NAME", name)
		if err := os.WriteFile(filepath.Join(dir, ".profile"), []byte(profile), 0o600); err != nil {
			return err
		}
		text := strings.ReplaceAll(nsenterScript, "NODE", dir)
		if err := writeScript(filepath.Join(dir, "nsenter"), text); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) nodeDir(name string) string {
	return filepath.Join(s.dir, "nodes", filepath.Base(name))
}

// writeScript writes an executable file. It prevents concurrent starts of
// processes: until its exec, a new process would hold the file open for
// writing, and running the file would fail ("text file busy").
func writeScript(path, text string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte(text), 0o700) //nolint:gosec // it is to be run
}

// nodePath returns the beginning of PATH in a container from which the node can
// be entered, or "" for other containers.
func (c *container) nodePath() string {
	if c.spec.Image != NodeImage && (!c.hostPID || c.root != "") {
		return ""
	}
	return c.srv.nodeDir(c.node) + ":"
}

const enforceLabel = "pod-security.kubernetes.io/enforce"

// checkPodSecurity enforces Pod Security (k8s.io/pod-security-admission) for
// the settings that pods of node shells use.
func (s *Server) checkPodSecurity(pod *corev1.Pod) error {
	o, ok := s.store.get("namespaces", keyOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod.Namespace}}))
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, pod.Namespace)
	}
	level := o.GetLabels()[enforceLabel]
	if level == "" || level == "privileged" {
		return nil
	}
	var why []string
	if spec := pod.Spec; spec.HostNetwork || spec.HostPID || spec.HostIPC {
		why = append(why, "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)")
	}
	for _, v := range pod.Spec.Volumes {
		if v.HostPath != nil {
			why = append(
				why,
				fmt.Sprintf("restricted volume types (volume %q uses restricted volume type \"hostPath\")", v.Name),
			)
		}
	}
	for _, c := range pod.Spec.Containers {
		if c.SecurityContext != nil && c.SecurityContext.Privileged != nil {
			why = append(why, fmt.Sprintf("privileged (container %q must not set securityContext.privileged=true)", c.Name))
		}
	}
	if len(why) == 0 {
		return nil
	}
	return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, pod.Name,
		fmt.Errorf("violates PodSecurity \"%s:latest\": %s", level, strings.Join(why, ", ")))
}

// enforceDeadline ends the pod when its activeDeadlineSeconds have passed.
func (s *Server) enforceDeadline(run *podRun) {
	seconds := run.pod.Spec.ActiveDeadlineSeconds
	if seconds == nil {
		return
	}
	s.start(func() {
		timer := time.NewTimer(time.Duration(*seconds) * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-run.ended:
			return
		case <-s.ctx.Done():
			return
		}
		over := false
		s.store.updatePod(keyOf(run.pod), run.pod.UID, func(o object) {
			if pod, ok := o.(*corev1.Pod); ok && pod.Status.Phase == corev1.PodRunning {
				pod.Status.Phase, pod.Status.Reason = corev1.PodFailed, "DeadlineExceeded"
				pod.Status.Message = "Pod was active on the node longer than the specified deadline"
				over = true
			}
		})
		if over {
			run.stop()
		}
	})
}

// refusePropagation applies to pods on a node whose root is a private mount. A
// container that mounts a path of the node with mountPropagation does not run:
// it waits with the reason CreateContainerError and containerd's message.
func (s *Server) refusePropagation(pod *corev1.Pod) {
	s.mu.Lock()
	private := s.private[pod.Spec.NodeName]
	s.mu.Unlock()
	if !private {
		return
	}
	paths := map[string]string{} // on the node, by volume name
	for _, v := range pod.Spec.Volumes {
		if v.HostPath != nil {
			paths[v.Name] = v.HostPath.Path
		}
	}
	for _, c := range pod.Spec.Containers {
		for _, m := range c.VolumeMounts {
			path, ofNode := paths[m.Name]
			if !ofNode || m.MountPropagation == nil || *m.MountPropagation == corev1.MountPropagationNone {
				continue
			}
			setState(pod, c.Name, waiting("CreateContainerError", fmt.Sprintf(
				"failed to generate container %q spec: failed to generate spec: "+
					"path %q is mounted on \"/\" but it is not a shared or slave mount", randomName(64), path)))
			pod.Status.Phase = corev1.PodPending
			updateReadiness(pod)
		}
	}
}
