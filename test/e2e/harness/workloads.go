package harness

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

//go:embed manifests/rbac.yaml
var rbacManifest string

//go:embed manifests/workloads.yaml
var workloadsManifest string

// Namespace is the namespace of the seeded workloads.
const Namespace = "default"

// Config returns the REST configuration of a user for one of the API servers.
func (c *Cluster) Config(user string, s Server) (*rest.Config, error) {
	path := c.Kubeconfig()
	if s == TranslatingServer {
		path = c.KubeconfigTranslating()
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: path},
		&clientcmd.ConfigOverrides{CurrentContext: user},
	).ClientConfig()
}

// Client returns a clientset of the admin, with which tests prepare the
// cluster.
func (c *Cluster) Client() (*kubernetes.Clientset, error) {
	cfg, err := c.Config(Admin, MainServer)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

// Seed creates missing workloads and rights, and does not change existing ones.
// Pods that have failed, for example because their node was lost, are created
// again.
func (c *Cluster) Seed(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	manifests := rbacManifest + "---\n" + workloadsManifest
	return waitFor(ctx, time.Second, func(ctx context.Context) error {
		if err := deleteFailed(ctx, client); err != nil {
			return err
		}
		// Pods need the service account of the namespace, which a controller
		// creates after a moment.
		_, err := c.output(ctx, strings.NewReader(manifests), c.Kubectl(), "--kubeconfig="+c.Kubeconfig(), "apply",
			"--server-side", "--force-conflicts", "-f", "-")
		return err
	})
}

// deleteFailed deletes what would not recover by itself: failed pods; the job
// `once` if it is complete and its pod is gone; and the job `long` if one of
// its pods has failed, because this job waits longer after each failure and
// finally gives up. It does not delete the pods of tests, which have the label
// kshell.
func deleteFailed(ctx context.Context, client *kubernetes.Clientset) error {
	failed := metav1.ListOptions{FieldSelector: "status.phase=Failed", LabelSelector: "!kshell"}
	if err := client.CoreV1().Pods(Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, failed); err != nil {
		return err
	}
	return errors.Join(
		deleteJob(ctx, client, "once", func(s batchv1.JobStatus, pods int) bool { return s.Succeeded > 0 && pods == 0 }),
		deleteJob(ctx, client, "long", func(s batchv1.JobStatus, _ int) bool { return s.Failed > 0 }),
	)
}

// deleteJob deletes a job if spent returns true. It calls spent with the status
// of the job and the number of pods that the job has.
func deleteJob(ctx context.Context, client *kubernetes.Clientset, name string,
	spent func(batchv1.JobStatus, int) bool,
) error {
	job, err := client.BatchV1().Jobs(Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil || !spent(job.Status, len(pods.Items)) {
		return err
	}
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	if err := client.BatchV1().Jobs(Namespace).Delete(ctx, name, options); err != nil {
		return err
	}
	return fmt.Errorf("job %s is being deleted", name) // an error, so that the caller tries again until the job is gone
}

// WaitNode waits until the API shows a node as not ready, if ready is false. If
// ready is true, it waits until the API shows the node as ready and the kubelet
// answers, because the API still shows a node as ready after an outage of a few
// seconds.
func (c *Cluster) WaitNode(ctx context.Context, name string, ready bool) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	return waitFor(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && (cond.Status == corev1.ConditionTrue) == ready {
				return kubeletAnswers(ctx, client, name, ready)
			}
		}
		return fmt.Errorf("%s: ready is not %v", name, ready)
	})
}

// kubeletAnswers checks the health of a node's kubelet. If ready is false, it
// checks nothing.
func kubeletAnswers(ctx context.Context, client *kubernetes.Clientset, name string, ready bool) error {
	if !ready {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err := client.CoreV1().
		RESTClient().
		Get().
		Resource("nodes").
		Name(name).
		SubResource("proxy").
		Suffix("healthz").
		Do(ctx).
		Error()
	if err != nil {
		return fmt.Errorf("the kubelet of %s does not answer: %w", name, err)
	}
	return nil
}

// WaitSeeds waits until every seeded workload is in its intended state: the
// healthy ones ready, `once` complete, `crash` in CrashLoopBackOff, `pulling`
// without its image.
func (c *Cluster) WaitSeeds(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	return waitFor(ctx, 250*time.Millisecond, func(ctx context.Context) error { return checkSeeds(ctx, client) })
}

func checkSeeds(ctx context.Context, client *kubernetes.Clientset) error {
	pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	byName, ofApp := map[string]*corev1.Pod{}, map[string]int{}
	for i := range pods.Items {
		p := &pods.Items[i]
		byName[p.Name] = p
		ofApp[p.Labels["app"]]++
	}
	// A larger number is also wrong: a pod that is terminating still counts.
	for app, n := range map[string]int{"web": 2, "db": 2, "agent": len(nodes), "once": 1, "long": 1} {
		if ofApp[app] != n {
			return fmt.Errorf("%s has %d pods, not %d", app, ofApp[app], n)
		}
	}
	for _, name := range []string{
		"web", "multi", "annotated", "with-init", "console", "pipe", "noshell", "bashpod", "ashonly",
	} {
		if !podReady(byName[name]) {
			return fmt.Errorf("pod %s is not ready", name)
		}
	}
	if err := waitsFor(byName["crash"], "CrashLoopBackOff"); err != nil {
		return err
	}
	if err := waitsFor(byName["pulling"], "ErrImagePull", "ImagePullBackOff"); err != nil {
		return err
	}
	if err := waitsFor(byName["initializing"], "PodInitializing"); err != nil {
		return err
	}
	if prepares := byName["initializing"].Status.InitContainerStatuses; len(prepares) == 0 ||
		prepares[0].State.Running == nil {
		return errors.New("the init container of pod initializing does not run")
	}
	if p := byName["completed"]; p == nil || p.Status.Phase != corev1.PodSucceeded {
		return errors.New("pod completed has not ended")
	}
	return checkControllers(ctx, client)
}

func podReady(p *corev1.Pod) bool {
	if p == nil || p.DeletionTimestamp != nil {
		return false
	}
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

func waitsFor(p *corev1.Pod, reasons ...string) error {
	if p == nil || len(p.Status.ContainerStatuses) == 0 {
		return errors.New("a waiting pod has no status yet")
	}
	state := p.Status.ContainerStatuses[0].State
	for _, reason := range reasons {
		// A container that crashes runs for a moment after each restart, so a
		// restarted container is accepted even if it runs.
		again := reason == "CrashLoopBackOff" && p.Status.ContainerStatuses[0].RestartCount > 0
		if again || state.Waiting != nil && state.Waiting.Reason == reason {
			return nil
		}
	}
	return fmt.Errorf("pod %s is not waiting with %s", p.Name, strings.Join(reasons, " or "))
}

func checkControllers(ctx context.Context, client *kubernetes.Clientset) error {
	deploy, err := client.AppsV1().Deployments(Namespace).Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	stateful, err := client.AppsV1().StatefulSets(Namespace).Get(ctx, "db", metav1.GetOptions{})
	if err != nil {
		return err
	}
	daemons, err := client.AppsV1().DaemonSets(Namespace).Get(ctx, "agent", metav1.GetOptions{})
	if err != nil {
		return err
	}
	once, err := client.BatchV1().Jobs(Namespace).Get(ctx, "once", metav1.GetOptions{})
	if err != nil {
		return err
	}
	long, err := client.BatchV1().Jobs(Namespace).Get(ctx, "long", metav1.GetOptions{})
	switch {
	case err != nil:
		return err
	case deploy.Status.AvailableReplicas != 2:
		return errors.New("deployment web does not have two ready replicas")
	case stateful.Status.ReadyReplicas != 2:
		return errors.New("statefulset db does not have two ready replicas")
	case daemons.Status.NumberReady != int32(len(nodes)):
		return errors.New("daemonset agent does not run on every node")
	case once.Status.Succeeded != 1:
		return errors.New("job once is not complete")
	case long.Status.Ready == nil || *long.Status.Ready != 1:
		return errors.New("job long does not run")
	}
	return nil
}
