package kinds

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

func workloadKinds() []Kind {
	images := []string{"CONTAINERS", "IMAGES"}
	return []Kind{
		{
			Name: "deployment", Resource: "deployments", Namespaced: true, group: "apps", short: []string{"deploy"},
			header: []string{"NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"}, wide: images,
			row: rowOf(deploymentRow), ready: readyIf(deploymentReady),
		},
		{
			Name: "replicaset", Resource: "replicasets", Namespaced: true, group: "apps", short: []string{"rs"},
			header: []string{"NAME", "DESIRED", "CURRENT", "READY", "AGE"}, wide: images,
			row: rowOf(func(r *appsv1.ReplicaSet, now time.Time) row {
				return row{numbers(r.Name, age(r.CreationTimestamp, now),
					or1(r.Spec.Replicas), r.Status.Replicas, r.Status.ReadyReplicas), imagesOf(&r.Spec.Template)}
			}),
			ready: readyIf(func(r *appsv1.ReplicaSet) bool {
				return r.Status.ObservedGeneration >= r.Generation && r.Status.ReadyReplicas == or1(r.Spec.Replicas)
			}),
		},
		{
			Name: "statefulset", Resource: "statefulsets", Namespaced: true, group: "apps", short: []string{"sts"},
			header: []string{"NAME", "READY", "AGE"}, wide: images,
			row: rowOf(func(s *appsv1.StatefulSet, now time.Time) row {
				ready := fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, or1(s.Spec.Replicas))
				return row{[]string{s.Name, ready, age(s.CreationTimestamp, now)}, imagesOf(&s.Spec.Template)}
			}),
			ready: readyIf(statefulSetReady),
		},
		{
			Name: "daemonset", Resource: "daemonsets", Namespaced: true, group: "apps", short: []string{"ds"},
			header: []string{"NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"}, wide: images,
			row: rowOf(func(d *appsv1.DaemonSet, now time.Time) row {
				s := d.Status
				return row{numbers(d.Name, age(d.CreationTimestamp, now), s.DesiredNumberScheduled, s.CurrentNumberScheduled,
					s.NumberReady, s.UpdatedNumberScheduled, s.NumberAvailable), imagesOf(&d.Spec.Template)}
			}),
			ready: readyIf(func(d *appsv1.DaemonSet) bool {
				s := d.Status
				return s.ObservedGeneration >= d.Generation && s.NumberReady == s.DesiredNumberScheduled &&
					s.UpdatedNumberScheduled == s.DesiredNumberScheduled
			}),
		},
		{
			Name: "job", Resource: "jobs", Namespaced: true, group: "batch",
			header: []string{"NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"}, wide: images,
			row: rowOf(jobRow), ready: readyIf(func(j *batchv1.Job) bool { return jobHas(j, batchv1.JobComplete) }),
		},
		{
			Name: "cronjob", Resource: "cronjobs", Namespaced: true, group: "batch", short: []string{"cj"},
			header: []string{"NAME", "SCHEDULE", "SUSPEND", "ACTIVE", "LAST SCHEDULE", "AGE"}, wide: images,
			row: rowOf(cronJobRow),
		},
		{
			Name: "replicationcontroller", Resource: "replicationcontrollers", Namespaced: true, short: []string{"rc"},
			header: []string{"NAME", "DESIRED", "CURRENT", "READY", "AGE"}, wide: images,
			row: rowOf(func(r *corev1.ReplicationController, now time.Time) row {
				return row{numbers(r.Name, age(r.CreationTimestamp, now),
					or1(r.Spec.Replicas), r.Status.Replicas, r.Status.ReadyReplicas), imagesOf(r.Spec.Template)}
			}),
			ready: readyIf(func(r *corev1.ReplicationController) bool {
				return r.Status.ObservedGeneration >= r.Generation && r.Status.ReadyReplicas == or1(r.Spec.Replicas)
			}),
		},
	}
}

// or1 returns *replicas, or the default of the API server, which is 1.
func or1(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// numbers returns the cells of an object with this name and age.
func numbers(name, age string, counts ...int32) []string {
	cells := []string{name}
	for _, n := range counts {
		cells = append(cells, strconv.Itoa(int(n)))
	}
	return append(cells, age)
}

// imagesOf returns the names and the images of the containers in a template.
func imagesOf(template *corev1.PodTemplateSpec) []string {
	if template == nil {
		return []string{none, none}
	}
	var names, images []string
	for _, c := range template.Spec.Containers {
		names, images = append(names, c.Name), append(images, c.Image)
	}
	return []string{strings.Join(names, ","), strings.Join(images, ",")}
}

func deploymentRow(d *appsv1.Deployment, now time.Time) row {
	return row{[]string{
		d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, or1(d.Spec.Replicas)),
		strconv.Itoa(int(d.Status.UpdatedReplicas)), strconv.Itoa(int(d.Status.AvailableReplicas)),
		age(d.CreationTimestamp, now),
	}, imagesOf(&d.Spec.Template)}
}

// deploymentReady reports whether a rollout is complete, as kubectl rollout
// status does.
func deploymentReady(d *appsv1.Deployment) bool {
	s, want := d.Status, or1(d.Spec.Replicas)
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.Replicas == want &&
		s.AvailableReplicas == want
}

func statefulSetReady(set *appsv1.StatefulSet) bool {
	s, want := set.Status, or1(set.Spec.Replicas)
	updated := s.UpdatedReplicas == want || set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType
	return s.ObservedGeneration >= set.Generation && s.ReadyReplicas == want && updated
}

func jobRow(j *batchv1.Job, now time.Time) row {
	wanted := "1"
	switch {
	case j.Spec.Completions != nil:
		wanted = strconv.Itoa(int(*j.Spec.Completions))
	case or1(j.Spec.Parallelism) > 1:
		wanted = fmt.Sprintf("1 of %d", *j.Spec.Parallelism)
	}
	took := ""
	switch start, end := j.Status.StartTime, j.Status.CompletionTime; {
	case start == nil:
	case end == nil:
		took = duration.HumanDuration(now.Sub(start.Time))
	default:
		took = duration.HumanDuration(end.Sub(start.Time))
	}
	return row{[]string{
		j.Name, jobStatus(j), fmt.Sprintf("%d/%s", j.Status.Succeeded, wanted), took, age(j.CreationTimestamp, now),
	}, imagesOf(&j.Spec.Template)}
}

func jobStatus(j *batchv1.Job) string {
	switch {
	case jobHas(j, batchv1.JobComplete):
		return "Complete"
	case jobHas(j, batchv1.JobFailed):
		return "Failed"
	case j.DeletionTimestamp != nil:
		return "Terminating"
	case jobHas(j, batchv1.JobSuspended):
		return "Suspended"
	case jobHas(j, batchv1.JobFailureTarget):
		return "FailureTarget"
	}
	return "Running"
}

// jobHas reports whether a condition of the job is true.
func jobHas(j *batchv1.Job, kind batchv1.JobConditionType) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
}

func cronJobRow(c *batchv1.CronJob, now time.Time) row {
	last := none
	if t := c.Status.LastScheduleTime; t != nil {
		last = age(*t, now)
	}
	suspended := c.Spec.Suspend != nil && *c.Spec.Suspend
	return row{[]string{
		c.Name, c.Spec.Schedule, fmt.Sprint(suspended), strconv.Itoa(len(c.Status.Active)), last,
		age(c.CreationTimestamp, now),
	}, imagesOf(&c.Spec.JobTemplate.Spec.Template)}
}
