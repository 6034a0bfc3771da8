import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { lazy, Suspense, useRef, useState } from "react";
import { ApiError, url } from "../api/client";
import { sessionQuery, signOut } from "../api/session";
import { strings } from "../strings";
import { setTheme, THEMES, useTheme } from "../theme";
import { Icon } from "../ui/Icon";
import { Menu, MenuChoice, MenuItem, MenuSeparator } from "../ui/Menu";

const PersonalDialog = lazy(() => import("../presets/PersonalDialog"));

const OPTIONS = THEMES.map((theme) => ({ value: theme, label: strings.shell.themes[theme] }));

export function AccountMenu() {
  const { data: session } = useQuery(sessionQuery);
  const theme = useTheme();
  const client = useQueryClient();
  const router = useRouter();
  const chooser = useRef<HTMLInputElement>(null);
  const [told, setTold] = useState("");
  const [isPersonal, setIsPersonal] = useState(false);

  const leave = async (everywhere: boolean) => {
    const signedOut = await signOut(everywhere);
    // Nothing of one person's is to be found by the next.
    sessionStorage.clear();
    client.clear();
    client.setQueryData(sessionQuery.queryKey, signedOut);
    await router.navigate({ to: "/sign-in" });
  };

  const take = async (file: File) => {
    try {
      const { importChats } = await import("./transfer");
      setTold(strings.shell.imported(await importChats(file)));
      await client.invalidateQueries({ queryKey: ["chats"] });
    } catch (error) {
      setTold(error instanceof ApiError ? error.message : strings.shell.importFailed);
    }
  };

  const trigger = (
    <button type="button" className="m-2 flex min-h-11 items-center gap-2.5 rounded-lg px-2 text-start hover:bg-hover">
      <span className="grid size-7 shrink-0 place-content-center rounded-full bg-accent-soft text-accent">
        <Icon name="user" className="size-4" />
      </span>
      <span className="min-w-0 flex-1 truncate" dir="auto">
        <span className="sr-only">{strings.shell.account}: </span>
        {session?.name}
      </span>
    </button>
  );
  return (
    <div className="flex flex-col border-line border-t">
      <p role="status" className="px-4 text-soft text-sm not-empty:pt-2">
        {told}
      </p>
      <input
        ref={chooser}
        type="file"
        accept="application/json,.json"
        hidden
        onChange={(event) => {
          const [file] = event.target.files ?? [];
          event.target.value = "";
          if (file) void take(file);
        }}
      />
      <Menu trigger={trigger}>
        <MenuChoice label={strings.shell.theme} value={theme} options={OPTIONS} onChange={setTheme} />
        <MenuSeparator />
        <MenuItem icon={<Icon name="pencil" className="size-4" />} onSelect={() => setIsPersonal(true)}>
          {strings.shell.instructions}
        </MenuItem>
        <MenuItem
          icon={<Icon name="download" className="size-4" />}
          onSelect={() => location.assign(url("v1/x/chats/export"))}
        >
          {strings.shell.export}
        </MenuItem>
        <MenuItem icon={<Icon name="upload" className="size-4" />} onSelect={() => chooser.current?.click()}>
          {strings.shell.import}
        </MenuItem>
        {session?.kind && (
          <>
            <MenuSeparator />
            <MenuItem icon={<Icon name="signOut" className="size-4" />} onSelect={() => void leave(false)}>
              {strings.shell.signOut}
            </MenuItem>
            <MenuItem icon={<Icon name="signOut" className="size-4" />} onSelect={() => void leave(true)}>
              {strings.shell.signOutEverywhere}
            </MenuItem>
          </>
        )}
      </Menu>
      {isPersonal && (
        <Suspense>
          <PersonalDialog onClose={() => setIsPersonal(false)} />
        </Suspense>
      )}
    </div>
  );
}
