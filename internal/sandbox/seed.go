package sandbox

import (
	"errors"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const image = "sandbox/local:1"

// seed creates the namespaces and the following pods, workloads and nodes. With
// Config.Empty, it creates only the namespaces and the nodes.
//
//	pod/web          one container, web; its labels match no selector
//	pod/multi        containers a and b
//	pod/annotated    containers side and main; the annotation names main
//	pod/with-init    init (finished), sidecar (restartable, running) and main
//	pod/debugged     main and the ephemeral container debugger
//	pod/console      one container with stdin and a tty: a shell, to attach to
//	pod/pipe         one container with stdin and no tty: cat, to attach to
//	pod/noshell      one container, noshell, of NoShellImage: no sh
//	pod/nodd         one container, nodd, of NoDDImage: sh, but neither dd nor head
//	pod/crash        CrashLoopBackOff
//	pod/pulling      ImagePullBackOff
//	pod/pending      not scheduled
//	deploy/web       two pods of a replicaset, with the label app=web, which the service web selects
//	sts/db           pod db-0
//	ds/agent         one pod
//	rc/legacy        one pod
//	job/once         one pod, succeeded
//	other: pod/web   the pod web of the namespace other: one container, web
//	node1, node2     nodes
//
// The pods are on node1, except the second pod of deploy/web and pod db-0, which
// are on node2. All pods have the same creation time. The namespace restricted
// enforces the level "restricted" of Pod Security, in part: see checkPodSecurity.
func (s *Server) seed() error {
	for _, ns := range []string{"default", "other", "kube-system", "restricted"} {
		o := &corev1.Namespace{
			TypeMeta: typeMeta("v1", "Namespace"),
			Status:   corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
		}
		o.Name = ns
		o.Labels = map[string]string{"kubernetes.io/metadata.name": ns}
		switch ns {
		case "kube-system":
			o.Labels[enforceLabel] = "privileged"
		case "restricted":
			o.Labels[enforceLabel] = "restricted"
		}
		s.store.put("namespaces", o)
	}
	for _, name := range nodeNames {
		s.store.put("nodes", node(name))
	}
	if s.cfg.Empty {
		return nil
	}
	created := thisSecond()
	pods := slices.Concat(plainPods(), brokenPods(created), s.workloads(created))
	var errs []error
	for _, p := range pods {
		p.CreationTimestamp = created
		errs = append(errs, s.addPod(p))
	}
	return errors.Join(errs...)
}

func typeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{Kind: kind, APIVersion: apiVersion}
}

func simpleContainer(name string, command ...string) corev1.Container {
	return corev1.Container{Name: name, Image: image, Command: command}
}

func simplePod(name string, containers ...corev1.Container) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: containers}}
	p.Name = name
	p.Namespace = "default"
	p.Labels = map[string]string{"run": name}
	return p
}

func plainPods() []*corev1.Pod {
	annotated := simplePod("annotated", simpleContainer("side"), simpleContainer("main"))
	annotated.Annotations = map[string]string{"kubectl.kubernetes.io/default-container": "main"}

	always := corev1.ContainerRestartPolicyAlways
	withInit := simplePod("with-init", simpleContainer("main"))
	withInit.Spec.InitContainers = []corev1.Container{simpleContainer("init"), simpleContainer("sidecar")}
	withInit.Spec.InitContainers[1].RestartPolicy = &always

	debugged := simplePod("debugged", simpleContainer("main"))
	debugged.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon(simpleContainer("debugger")),
		TargetContainerName:      "main",
	}}

	shell := simpleContainer("console", "sh", "-i")
	shell.Stdin, shell.TTY = true, true
	cat := simpleContainer("pipe", "cat")
	cat.Stdin = true

	noshell, nodd := simpleContainer("noshell"), simpleContainer("nodd")
	noshell.Image, nodd.Image = NoShellImage, NoDDImage

	other := simplePod("web", simpleContainer("web"))
	other.Namespace = "other"
	return []*corev1.Pod{
		simplePod("web", simpleContainer("web")),
		simplePod("multi", simpleContainer("a"), simpleContainer("b")),
		annotated, withInit, debugged, simplePod("console", shell), simplePod("pipe", cat),
		simplePod("noshell", noshell), simplePod("nodd", nodd), other,
	}
}

// brokenPods returns pods in which no container runs.
func brokenPods(created metav1.Time) []*corev1.Pod {
	stuck := func(name string, state, last corev1.ContainerState, restarts int32) *corev1.Pod {
		p := simplePod(name, simpleContainer(name))
		p.Spec.NodeName = nodeNames[0]
		p.CreationTimestamp = created
		p.Status = runningStatus(p)
		p.Status.ContainerStatuses = []corev1.ContainerStatus{containerStatus(name, image, state)}
		p.Status.ContainerStatuses[0].LastTerminationState = last
		p.Status.ContainerStatuses[0].RestartCount = restarts
		updateReadiness(p)
		return p
	}
	crash := stuck("crash", waiting("CrashLoopBackOff",
		"back-off 5m0s restarting failed container=crash pod=crash_default"), terminated(1), 7)
	pulling := stuck("pulling", waiting("ImagePullBackOff",
		`Back-off pulling image "registry.invalid/no/such:image"`), corev1.ContainerState{}, 0)
	pulling.Status.Phase = corev1.PodPending

	pending := simplePod("pending", simpleContainer("pending"))
	pending.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: "0/1 nodes are available: 1 Insufficient cpu.",
	}}}
	return []*corev1.Pod{crash, pulling, pending}
}

// workloads stores the workloads and returns their pods.
func (s *Server) workloads(created metav1.Time) []*corev1.Pod {
	hash := "7c5ddbdf54"
	web := objectMeta("web", map[string]string{"app": "web"})
	rs := objectMeta("web-"+hash, map[string]string{"app": "web", "pod-template-hash": hash})
	rs.OwnerReferences = owner("apps/v1", "Deployment", web)
	db := objectMeta("db", map[string]string{"app": "db"})
	agent := objectMeta("agent", map[string]string{"app": "agent"})
	legacy := objectMeta("legacy", map[string]string{"app": "legacy"})
	once := objectMeta("once", map[string]string{"app": "once"})

	two, one := int32(2), int32(1)
	s.store.put("deployments", &appsv1.Deployment{
		TypeMeta: typeMeta("apps/v1", "Deployment"), ObjectMeta: web,
		Spec: appsv1.DeploymentSpec{Replicas: &two, Selector: selector(web), Template: podTemplate(web, "web")},
		Status: appsv1.DeploymentStatus{
			ObservedGeneration: 1, Replicas: 2, ReadyReplicas: 2, AvailableReplicas: 2, UpdatedReplicas: 2,
		},
	})
	s.store.put("replicasets", &appsv1.ReplicaSet{
		TypeMeta: typeMeta("apps/v1", "ReplicaSet"), ObjectMeta: rs,
		Spec:   appsv1.ReplicaSetSpec{Replicas: &two, Selector: selector(rs), Template: podTemplate(rs, "web")},
		Status: appsv1.ReplicaSetStatus{ObservedGeneration: 1, Replicas: 2, ReadyReplicas: 2, AvailableReplicas: 2},
	})
	s.store.put("statefulsets", &appsv1.StatefulSet{
		TypeMeta: typeMeta("apps/v1", "StatefulSet"), ObjectMeta: db,
		Spec:   appsv1.StatefulSetSpec{Replicas: &one, Selector: selector(db), Template: podTemplate(db, "db")},
		Status: appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 1, ReadyReplicas: 1},
	})
	s.store.put("daemonsets", &appsv1.DaemonSet{
		TypeMeta: typeMeta("apps/v1", "DaemonSet"), ObjectMeta: agent,
		Spec: appsv1.DaemonSetSpec{Selector: selector(agent), Template: podTemplate(agent, "agent")},
		Status: appsv1.DaemonSetStatus{
			ObservedGeneration: 1, DesiredNumberScheduled: 1, CurrentNumberScheduled: 1, UpdatedNumberScheduled: 1,
			NumberReady: 1,
		},
	})
	template := podTemplate(legacy, "legacy")
	s.store.put("replicationcontrollers", &corev1.ReplicationController{
		TypeMeta: typeMeta("v1", "ReplicationController"), ObjectMeta: legacy,
		Spec:   corev1.ReplicationControllerSpec{Replicas: &one, Selector: legacy.Labels, Template: &template},
		Status: corev1.ReplicationControllerStatus{ObservedGeneration: 1, Replicas: 1, ReadyReplicas: 1},
	})
	s.store.put("jobs", &batchv1.Job{
		TypeMeta: typeMeta("batch/v1", "Job"), ObjectMeta: once,
		Spec: batchv1.JobSpec{Selector: selector(once), Template: podTemplate(once, "once")},
		Status: batchv1.JobStatus{
			Succeeded: 1, Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}},
		},
	})
	s.store.put("services", &corev1.Service{
		TypeMeta: typeMeta("v1", "Service"), ObjectMeta: objectMeta("web", nil),
		Spec: corev1.ServiceSpec{Selector: web.Labels, Ports: []corev1.ServicePort{{Port: 80}}, ClusterIP: "127.0.0.1"},
	})

	dbPod := ownedPod("apps/v1", "StatefulSet", db, "db")
	dbPod.Name = "db-0"
	done := ownedPod("batch/v1", "Job", once, "once")
	done.Spec.NodeName = nodeNames[0]
	done.Spec.RestartPolicy = corev1.RestartPolicyNever
	done.CreationTimestamp = created
	done.Status = runningStatus(done)
	done.Status.ContainerStatuses[0] = containerStatus("once", image, terminated(0))
	updateReadiness(done)
	secondWeb := ownedPod("apps/v1", "ReplicaSet", rs, "web")
	secondWeb.Spec.NodeName, dbPod.Spec.NodeName = nodeNames[1], nodeNames[1]
	return []*corev1.Pod{
		ownedPod("apps/v1", "ReplicaSet", rs, "web"),
		secondWeb,
		dbPod,
		ownedPod("apps/v1", "DaemonSet", agent, "agent"),
		ownedPod("v1", "ReplicationController", legacy, "legacy"),
		done,
	}
}

func objectMeta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: "default", UID: newUID(), CreationTimestamp: metav1.Now(), Labels: labels, Generation: 1,
	}
}

func owner(apiVersion, kind string, m metav1.ObjectMeta) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: m.Name, UID: m.UID, Controller: &yes}}
}

func selector(m metav1.ObjectMeta) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: maps.Clone(m.Labels)}
}

func podTemplate(m metav1.ObjectMeta, container string) corev1.PodTemplateSpec {
	t := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{simpleContainer(container)}}}
	t.Labels = maps.Clone(m.Labels)
	return t
}

func ownedPod(apiVersion, kind string, m metav1.ObjectMeta, container string) *corev1.Pod {
	p := simplePod("", simpleContainer(container))
	p.GenerateName = m.Name + "-"
	p.Labels = maps.Clone(m.Labels)
	p.OwnerReferences = owner(apiVersion, kind, m)
	return p
}
