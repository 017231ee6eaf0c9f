using AllocTools.Interop;

namespace AllocTools.Doctor;

/// <summary>The place where this process runs, as far as advice depends on it.</summary>
/// <param name="IsRoot">Whether the effective user is 0, possibly of a user namespace.</param>
/// <param name="HasLockCapability">Whether the process has CAP_IPC_LOCK, which counts only in the initial user
/// namespace.</param>
/// <param name="IsInUserNamespace">Whether the process is in a user namespace of its own.</param>
/// <param name="Container">The kind of the container, such as <c>docker</c>, <c>kubernetes</c>; null if none was
/// detected.</param>
/// <param name="Unit">The unit of systemd that has started the process, such as <c>my.service</c>; null if there is
/// none.</param>
internal sealed record Surroundings(bool IsRoot, bool HasLockCapability, bool IsInUserNamespace, string? Container, string? Unit)
{
    private const int IpcLock = 14;

    public static Surroundings Of(Machine machine)
    {
        ProcessRights? rights = machine.Rights;
        return new Surroundings(
            rights?.UserId == "0",
            rights?.HasEffective(IpcLock) == true,
            rights?.IsInUserNamespace == true,
            FindContainer(machine),
            FindUnit(machine));
    }

    /// <summary>Returns a short description, such as <c>root in docker</c>.</summary>
    public override string ToString() =>
        (IsRoot ? "root" : "a user without root's rights")
        + (IsInUserNamespace ? " in a user namespace" : "")
        + (Container is null ? "" : $" in a container ({Container})")
        + (Unit is null ? "" : $" in the systemd unit {Unit}");

    private static string? FindContainer(Machine machine)
    {
        string first = machine.Read("/proc/1/cgroup") ?? "";
        if (!string.IsNullOrEmpty(machine.Variable("KUBERNETES_SERVICE_HOST")) || first.Contains("kubepods", StringComparison.Ordinal))
            return "kubernetes";
        if (machine.Exists("/.dockerenv") || first.Contains("/docker", StringComparison.Ordinal))
            return "docker";
        if (machine.Exists("/run/.containerenv") || first.Contains("libpod", StringComparison.Ordinal))
            return "podman";
        // systemd-nspawn, LXC and others set this variable for the first process of the container.
        string? named = (machine.Read("/proc/1/environ") ?? "").Split('\0').FirstOrDefault(static v => v.StartsWith("container=", StringComparison.Ordinal));
        return named?["container=".Length..] is { Length: > 0 } kind ? kind : null;
    }

    private static string? FindUnit(Machine machine)
    {
        // The file contains a text such as "0::/system.slice/my.service"; a login has a scope instead.
        string? last = (machine.Read("/proc/self/cgroup") ?? "").Split('\n').Select(static l => l.Split('/')[^1]).FirstOrDefault(static n => n.EndsWith(".service", StringComparison.Ordinal));
        return last is null || last.StartsWith("user@", StringComparison.Ordinal) ? null : last;
    }
}
