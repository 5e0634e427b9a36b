package node

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPod_MountPropagation(t *testing.T) {
	for _, refused := range []bool{false, true} {
		o := testOptions()
		o.NoPropagation = refused
		for _, m := range Pod(o).Spec.Containers[0].VolumeMounts {
			got := m.MountPropagation != nil && *m.MountPropagation == corev1.MountPropagationHostToContainer
			if want := m.Name == "host" && !refused; got != want || !got && m.MountPropagation != nil {
				t.Errorf("NoPropagation %v: the propagation of volume %s is %v", refused, m.Name, m.MountPropagation)
			}
		}
	}
}

func TestOptions_NeedsPropagation(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Options)
		want   bool
	}{
		"default":     {func(*Options) {}, false},
		"--chroot":    {func(o *Options) { o.Entry = Chroot }, true},
		"--host-view": {func(o *Options) { o.Entry = View }, true},
		"--mount-pvc": {func(o *Options) { o.Claims = []string{"data"} }, true},
		"--no-pid":    {func(o *Options) { o.Private.PID = true }, true},
		"--no-mount":  {func(o *Options) { o.Private.Mount = true }, true},
		"--no-net":    {func(o *Options) { o.Private.Net = true }, false},
		"general":     {func(o *Options) { o.Profile = General }, true},
		"netadmin":    {func(o *Options) { o.Profile = NetAdmin }, true},
		"Windows":     {func(o *Options) { o.Windows, o.Private.Mount = true, true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions()
			test.change(&o)
			if got := o.NeedsPropagation(); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
