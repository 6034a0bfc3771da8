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
  ] as const;
}
