using System.Text.Json.Nodes;
using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Doctor.Checks;

/// <summary>Checks how much memory may be locked, by trying it in growing steps.</summary>
/// <remarks>
/// Locked memory is backed, so the check locks at most <see cref="MostReallyLocked"/> and a quarter of the available
/// memory at once. Beyond that, the limit shows how much could be locked.
/// </remarks>
internal sealed class MemoryLockCheck() : Check("memlock")
{
    private const long FirstStep = 64 << 10;
    private const long MostReallyLocked = 256L << 20;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        Machine machine = examination.Machine;
        long? limit = examination.LockLimit;
        long asked = examination.BytesToLock ?? examination.DefaultCap;
        long room = Math.Max(FirstStep, Math.Min(machine.MemoryInfo("MemAvailable") ?? long.MaxValue, examination.Limits.Cgroup?.Available ?? long.MaxValue) / 4);
        long most = Math.Min(asked, Math.Min(MostReallyLocked, room));
        long locked = 0;
        int error = 0;
        for (long step = Math.Min(FirstStep, most); error == 0 && locked < most; step = Math.Min(step * 2, most))
        {
            error = machine.TryLock(step);
            locked = error == 0 ? step : locked;
        }
        var facts = new JsonObject
        {
            ["limitBytes"] = machine.MemoryLockLimit.Soft,
            ["hardLimitBytes"] = machine.MemoryLockLimit.Hard,
            ["bound"] = limit is not null,
            ["askedBytes"] = asked,
            ["lockedBytes"] = locked,
            ["root"] = examination.Surroundings.IsRoot,
            ["userNamespace"] = examination.Surroundings.IsInUserNamespace,
            ["container"] = examination.Surroundings.Container,
            ["unit"] = examination.Surroundings.Unit,
        };
        string said = machine.MemoryLockLimit.Soft is { } soft
            ? $"RLIMIT_MEMLOCK is {InWords.Size(soft)}{(limit is null ? ", which does not bind this process (CAP_IPC_LOCK)" : "")}"
            : "RLIMIT_MEMLOCK is unlimited";
        string found = $"{said}; {InWords.Bytes(locked)} were locked";
        if (error == 0 && (limit is null || asked <= limit))
            yield return Ok(asked > locked ? $"{found} as a test, of the {InWords.Bytes(asked)} that are asked for" : found, facts);
        else if (error != 0 && limit is null)
            yield return Fail($"{said}; locking more than {InWords.Bytes(locked)} failed: {SystemPages.Describe(error)}", "Free memory on this machine, or raise the container's memory limit", facts);
        else if (examination.AsksToLock)
            yield return Fail($"{found}, and {InWords.Bytes(asked)} are needed", Advise(examination), facts);
        else
            yield return Ok($"{found}: enough for tcp and shared memory, which lock none; a device would need more", facts);
    }

    /// <summary>Describes how to raise the limit in the environment of this process.</summary>
    private static string Advise(Examination examination)
    {
        Surroundings where = examination.Surroundings;
        (_, long? hard) = examination.Machine.MemoryLockLimit;
        if (where.Container == "kubernetes")
        {
            // If the pod has a user namespace of its own (hostUsers: false), the capability has no effect.
            return where.IsInUserNamespace ? "Set LimitMEMLOCK=infinity for the node's container runtime; the capability IPC_LOCK has no effect in the pod's user namespace (hostUsers: false)"
                : where.IsRoot
                ? "Add the capability IPC_LOCK to the container (securityContext.capabilities.add), or set LimitMEMLOCK=infinity for the node's container runtime"
                : "Set LimitMEMLOCK=infinity for the node's container runtime; the capability IPC_LOCK counts only for a container that runs as root, or for a program whose file has it (`setcap cap_ipc_lock+ep`)";
        }
        if (where.Container is "docker" or "podman")
            return $"Start the container with `--ulimit memlock=-1:-1`{(where.IsInUserNamespace ? ", after the limit of the user who starts it was raised (/etc/security/limits.conf, LimitMEMLOCK of user@.service)" : "")}";
        if (where.Container is not null)
            return $"Raise the limit of the container ({where.Container}) on its host";
        if (where.IsInUserNamespace)
            return "Raise the limit before the user namespace is entered, where CAP_IPC_LOCK has no effect: `ulimit -l unlimited` as root, or /etc/security/limits.conf for the user who starts it";
        if (where.Unit is { } unit)
            return $"Set LimitMEMLOCK=infinity in the section [Service] of {unit} (`systemctl edit {unit}`), and restart it";
        if (where.IsRoot)
            return "Run `ulimit -l unlimited` in the shell that starts the program, or `prlimit --memlock=unlimited --pid PID`";
        return hard is null
            ? "Run `ulimit -l unlimited` in the shell that starts the program"
            : "Add `* - memlock unlimited` to /etc/security/limits.conf as root, and log in again; for the running process `prlimit --memlock=unlimited --pid PID` as root";
    }
}
