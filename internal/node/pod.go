package node

import (
	"bytes"
	"encoding/json"
	"maps"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// The labels that kshell sets on every pod that it creates, and their values.
const (
	nameLabel    = "app.kubernetes.io/name"
	managerLabel = "app.kubernetes.io/managed-by"
	nameValue    = "node-shell"
	managerValue = "kshell"
)

// selector is the label selector for the pods that kshell created.
const selector = nameLabel + "=" + nameValue + "," + managerLabel + "=" + managerValue

// IsReservedLabel reports whether kshell itself sets the label.
func IsReservedLabel(label string) bool { return label == nameLabel || label == managerLabel }

// The annotations tell users and other clients who created the pod, and which
// limits it has.
const (
	createdByAnnotation    = "kshell/made-by"
	createdFromAnnotation  = "kshell/made-from"
	createdAtAnnotation    = "kshell/made-at" // RFC 3339
	ttlAnnotation          = "kshell/ttl"
	startTimeoutAnnotation = "kshell/starts-within"
	heartbeatAnnotation    = "kshell/heartbeat"
	kindAnnotation         = "kshell/kind"
	reasonAnnotation       = "kshell/reason"
)

// The kinds of pods, in kindAnnotation.
const (
	kindShell   = "shell"   // --attach can attach to it
	kindCommand = "command" // for commands, or for a shell with --no-log
)

// Paths in the container.
const (
	hostPath  = "/host"
	statePath = "/run/kshell"
	claimPath = "/mnt"
)

// Pod returns the pod that o describes.
func Pod(o Options) *corev1.Pod {
	no := false
	ttl := int64(o.TTL / time.Second)
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}}
	p.Name, p.Namespace = o.Name, o.Namespace
	p.Labels = map[string]string{}
	maps.Copy(p.Labels, o.Labels)
	p.Labels[nameLabel], p.Labels[managerLabel] = nameValue, managerValue
	p.Annotations = o.annotations()
	p.Spec = corev1.PodSpec{
		NodeName:                     o.Node,
		Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		RestartPolicy:                corev1.RestartPolicyNever,
		ActiveDeadlineSeconds:        &ttl,
		ServiceAccountName:           o.ServiceAccount,
		AutomountServiceAccountToken: &no,
		EnableServiceLinks:           &no,
		PriorityClassName:            o.PriorityClass,
		Containers:                   []corev1.Container{o.container()},
	}
	grace := int64(1) // seconds; a shell has nothing to clean up
	p.Spec.TerminationGracePeriodSeconds = &grace
	if o.PullSecret != "" {
		p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: o.PullSecret}}
	}
	if o.Windows {
		o.windows(&p.Spec)
		return p
	}
	o.linux(&p.Spec)
	return p
}

func (o *Options) annotations() map[string]string {
	all := map[string]string{
		createdAtAnnotation:    o.CreatedAt.UTC().Format(time.RFC3339),
		ttlAnnotation:          o.TTL.String(),
		startTimeoutAnnotation: o.StartTimeout.String(),
		heartbeatAnnotation:    o.HeartbeatTimeout.String(),
		kindAnnotation:         kindCommand,
	}
	if o.Shell {
		all[kindAnnotation] = kindShell
	}
	for name, value := range map[string]string{
		createdByAnnotation: o.CreatedBy, createdFromAnnotation: o.CreatedFrom, reasonAnnotation: o.Reason,
	} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

func (o *Options) container() corev1.Container {
	return corev1.Container{
		Name: Container, Image: o.Image, ImagePullPolicy: o.PullPolicy, Command: o.mainCommand(),
		Stdin: o.Shell, TTY: o.Shell, StdinOnce: false,
	}
}

func (o *Options) linux(spec *corev1.PodSpec) {
	spec.HostPID, spec.HostNetwork, spec.HostIPC = !o.Private.PID, !o.Private.Net, !o.Private.IPC
	c := &spec.Containers[0]
	c.Env = []corev1.EnvVar{{Name: "KSHELL_HOST", Value: hostPath}, {Name: "KSHELL_STATE", Value: statePath}}
	c.Env = append(c.Env, o.Env...)
	c.SecurityContext = o.security()
	o.mount(spec, hostPath, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: "/"},
	}})
	o.mount(spec, statePath, corev1.Volume{Name: "state", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory},
	}})
	for _, claim := range o.Claims {
		o.mount(spec, path.Join(claimPath, claim), corev1.Volume{Name: "claim-" + claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}})
	}
}

func (o *Options) mount(spec *corev1.PodSpec, mountPath string, v corev1.Volume) {
	spec.Volumes = append(spec.Volumes, v)
	c := &spec.Containers[0]
	mount := corev1.VolumeMount{Name: v.Name, MountPath: mountPath}
	// With this propagation, mounts and unmounts on the node also take effect
	// in the container. Without it, a volume that the node unmounts would stay
	// in use in the container.
	if v.HostPath != nil && !o.NoPropagation {
		propagation := corev1.MountPropagationHostToContainer
		mount.MountPropagation = &propagation
	}
	c.VolumeMounts = append(c.VolumeMounts, mount)
}

func (o *Options) security() *corev1.SecurityContext {
	yes, root := true, int64(0)
	switch o.Profile {
	case General:
		return &corev1.SecurityContext{RunAsUser: &root}
	case NetAdmin:
		capabilities := &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN", "NET_RAW"}}
		return &corev1.SecurityContext{RunAsUser: &root, Capabilities: capabilities}
	}
	return &corev1.SecurityContext{RunAsUser: &root, Privileged: &yes}
}

// windows makes the pod a HostProcess pod, whose container runs as a process of
// the node.
func (o *Options) windows(spec *corev1.PodSpec) {
	yes, system := true, `NT AUTHORITY\SYSTEM`
	spec.OS = &corev1.PodOS{Name: corev1.Windows}
	spec.HostNetwork = true
	spec.SecurityContext = &corev1.PodSecurityContext{
		WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: &yes, RunAsUserName: &system},
	}
	c := &spec.Containers[0]
	c.Stdin, c.TTY = false, false
	c.Env = append([]corev1.EnvVar{{Name: "KSHELL_STATE", Value: `C:\Windows\Temp\` + o.Name}}, o.Env...)
}

// WithResources returns a copy of p that requests CPU and memory, with the same
// values as limits. The values are quantities, such as 100m and 256Mi.
func WithResources(p *corev1.Pod, cpu, memory string) (*corev1.Pod, error) {
	list := corev1.ResourceList{}
	for name, value := range map[corev1.ResourceName]string{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory} {
		quantity, err := resource.ParseQuantity(value)
		if err != nil {
			return nil, err
		}
		list[name] = quantity
	}
	p = p.DeepCopy()
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
	return p, nil
}

// YAML returns the manifest of the pod as it is sent to the API server.
func YAML(p *corev1.Pod) ([]byte, error) { return yaml.Marshal(newManifest(p)) }

// JSON returns the manifest of the pod as it is sent to the API server,
// indented as kubectl indents JSON.
func JSON(p *corev1.Pod) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "    ")
	e.SetEscapeHTML(false) // the scripts contain < and >
	err := e.Encode(newManifest(p))
	return b.Bytes(), err
}

// manifest is a Pod without its status.
type manifest struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            corev1.PodSpec    `json:"spec"`
}

func newManifest(p *corev1.Pod) manifest { return manifest{p.TypeMeta, p.ObjectMeta, p.Spec} }
