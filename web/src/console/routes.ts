/** The Console's pages. Only their addresses are in the first load: what they are made of comes with the first of them. */

import { type AnyRoute, createRoute, lazyRouteComponent } from "@tanstack/react-router";

export const Layout = lazyRouteComponent(() => import("./Layout"), "Layout");

export function consolePages<Parent extends AnyRoute>(layout: Parent) {
  const getParentRoute = () => layout;
  return [
    createRoute({
      getParentRoute,
      path: "/",
      component: lazyRouteComponent(() => import("./overview/OverviewPage"), "OverviewPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/usage",
      component: lazyRouteComponent(() => import("./usage/UsagePage"), "UsagePage"),
    }),
    createRoute({
      getParentRoute,
      path: "/fine-tuning",
      component: lazyRouteComponent(() => import("./jobs/FineTuningPage"), "FineTuningPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/fine-tuning/$jobId",
      component: lazyRouteComponent(() => import("./jobs/FineTuningJobPage"), "FineTuningJobPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/batches",
      component: lazyRouteComponent(() => import("./jobs/BatchesPage"), "BatchesPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/evals",
      component: lazyRouteComponent(() => import("./jobs/EvalsPage"), "EvalsPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/evals/$evalId",
      component: lazyRouteComponent(() => import("./jobs/EvalPage"), "EvalPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/evals/$evalId/$runId",
      component: lazyRouteComponent(() => import("./jobs/EvalRunPage"), "EvalRunPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/models",
      component: lazyRouteComponent(() => import("./models/ModelsPage"), "ModelsPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/deployments",
      component: lazyRouteComponent(() => import("./deployments/DeploymentsPage"), "DeploymentsPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/keys",
      component: lazyRouteComponent(() => import("./keys/KeysPage"), "KeysPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/policies",
      component: lazyRouteComponent(() => import("./policies/PoliciesPage"), "PoliciesPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/policies/$policy",
      component: lazyRouteComponent(() => import("./policies/PolicyPage"), "PolicyPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/blocklists/$list",
      component: lazyRouteComponent(() => import("./policies/BlocklistPage"), "BlocklistPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/quotas",
      component: lazyRouteComponent(() => import("./quotas/QuotasPage"), "QuotasPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/audit",
      component: lazyRouteComponent(() => import("./audit/AuditPage"), "AuditPage"),
    }),
    createRoute({
      getParentRoute,
      path: "/health",
      component: lazyRouteComponent(() => import("./health/HealthPage"), "HealthPage"),
    }),
  ] as const;
}
