package sandbox

import (
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// mount sets c.mounts. For an emptyDir, it creates a directory. For a hostPath,
// it uses the same path on the machine.
func (c *container) mount(volumes []corev1.Volume) error {
	c.mounts = map[string]string{}
	for _, m := range c.spec.VolumeMounts {
		for _, v := range volumes {
			switch {
			case v.Name != m.Name:
			case v.HostPath != nil:
				c.mounts[m.MountPath] = v.HostPath.Path
			case v.EmptyDir != nil:
				dir := filepath.Join(c.dir, ".volumes", filepath.Base(v.Name))
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return err
				}
				c.mounts[m.MountPath] = dir
			}
		}
	}
	return nil
}
