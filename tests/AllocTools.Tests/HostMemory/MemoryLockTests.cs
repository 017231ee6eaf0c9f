using System.Globalization;
using AllocTools.Interop;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.HostMemory;

/// <summary>Tests a process that may lock 64 KiB, as an ordinary user's process may.</summary>
public sealed class MemoryLockTests
{
    private static readonly string[] Limited = Environment.IsPrivilegedProcess
        ? ["prlimit", "--memlock=65536:65536", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        : ["prlimit", "--memlock=65536:65536"];

    [Fact]
    public async Task BestEffortSaysOnceThatLockingFellShortAndGoesOn()
    {
        string output = await RunAsync("BestEffort");
        Assert.Equal(1, output.Split('\n').Count(l => l.StartsWith("log 5:", StringComparison.Ordinal)));
        Assert.Contains("RLIMIT_MEMLOCK is 65,536 bytes", output, StringComparison.Ordinal);
        Assert.Contains("LimitMEMLOCK=infinity", output, StringComparison.Ordinal);
        Assert.Contains("rented 2097152", output, StringComparison.Ordinal);
        Assert.Contains("failures 0", output, StringComparison.Ordinal);
        Assert.Equal(0, LockedKilobytes(output));
    }

    [Fact]
    public async Task RequiredRefusesWhatDoesNotFitServesWhatDoesAndLeavesNothingLocked()
    {
        string output = await RunAsync("Required");
        Assert.Contains("refused 1048576: ENOMEM: mlock of 1 MiB (1,048,576 bytes)", output, StringComparison.Ordinal);
        Assert.Contains("RLIMIT_MEMLOCK is 65,536 bytes", output, StringComparison.Ordinal);
        Assert.Contains("rented 4096", output, StringComparison.Ordinal);
        Assert.Contains("refused 2097152", output, StringComparison.Ordinal);
        Assert.Contains("registered 16384", output, StringComparison.Ordinal);
        Assert.Equal(0, LockedKilobytes(output));
    }

    [Fact]
    public void TheLimitBindsThisProcessAsTheKernelSays()
    {
        // One page more than the limit allows.
        if (MemoryLockLimit.Bytes is not { } limit || limit > 64 << 20)
            limit = 64 << 20;
        long length = limit / Environment.SystemPageSize * Environment.SystemPageSize + Environment.SystemPageSize;
        Assert.Equal(0, SystemPages.Map((nuint)length, out nint address));
        int error = SystemPages.Lock(address, (nuint)length);
        Assert.Equal(0, SystemPages.Unmap(address, (nuint)length));
        bool isFree = MemoryLockLimit.Bytes is null || MemoryLockLimit.IsExempt || MemoryLockLimit.Bytes > 64 << 20;
        Assert.Equal(isFree, error == 0);
    }

    [Fact]
    public void ACapabilityWithoutEffectIsNotAdvised()
    {
        const ulong all = 0x1FF_FFFF_FFFF;
        const ulong ipcLock = 1UL << 14;
        const ulong containers = 0xA804_25FB;
        string ordinary = MemoryLockLimit.HowToRaise(new ProcessRights { Bounding = all, UserId = "1000" }, (65536, 131072));
        Assert.StartsWith("Raise it: `ulimit -l 128` in the shell as far as the hard limit (131,072 bytes), beyond it as root", ordinary, StringComparison.Ordinal);
        Assert.Contains("add the capability IPC_LOCK to a container that runs as root", ordinary, StringComparison.Ordinal);

        string granted = MemoryLockLimit.HowToRaise(new ProcessRights { Bounding = containers | ipcLock, UserId = "1000", NoNewPrivileges = true }, (65536, 65536));
        Assert.StartsWith("CAP_IPC_LOCK was granted, but is in the bounding set only, which has no effect for user 1000: run as root, or give it to the program's file", granted, StringComparison.Ordinal);
        Assert.Contains("allowPrivilegeEscalation: true", granted, StringComparison.Ordinal);
        Assert.DoesNotContain("add the capability", granted, StringComparison.Ordinal);

        string inNamespace = MemoryLockLimit.HowToRaise(new ProcessRights { Effective = all, Bounding = all, UserId = "0", IsInUserNamespace = true }, (65536, 65536));
        Assert.StartsWith("The process has CAP_IPC_LOCK, but in a user namespace, where it has no effect", inNamespace, StringComparison.Ordinal);
        Assert.DoesNotContain("add the capability", inNamespace, StringComparison.Ordinal);
        foreach (string advice in (string[])[ordinary, granted, inNamespace])
            Assert.Contains("LimitMEMLOCK=infinity in a systemd unit, `--ulimit memlock=-1` for docker run", advice, StringComparison.Ordinal);
    }

    [Fact]
    public async Task InAUserNamespaceTheCapabilityIsNotTakenForAPermission()
    {
        await using var process = new PeerProcess([.. Limited, "unshare", "-Ur"], ["memlock", "BestEffort"]);
        string output = await process.ReadToEndAsync();
        Assert.Contains("RLIMIT_MEMLOCK is 65,536 bytes", output, StringComparison.Ordinal);
        Assert.Contains("The process has CAP_IPC_LOCK, but in a user namespace, where it has no effect", output, StringComparison.Ordinal);
    }

    private static async Task<string> RunAsync(string locking)
    {
        await using var process = new PeerProcess(Limited, ["memlock", locking]);
        return await process.ReadToEndAsync();
    }

    private static int LockedKilobytes(string output)
    {
        string line = output.Split('\n').Single(l => l.StartsWith("VmLck:", StringComparison.Ordinal));
        return int.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }
}
