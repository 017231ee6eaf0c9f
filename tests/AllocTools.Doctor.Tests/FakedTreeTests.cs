using System.Text;
using System.Text.Json.Nodes;
using AllocTools.Doctor.Checks;
using AllocTools.Testing;
using Microsoft.Extensions.Configuration;
using Xunit;

namespace AllocTools.Doctor.Tests;

/// <summary>Tests each check on a faked /proc, /sys and /dev.</summary>
public sealed class FakedTreeTests : IDisposable
{
    private const string InitialNamespace = "0 0 4294967295";

    private readonly TemporaryFolder _root = new();

    public FakedTreeTests()
    {
        // A healthy plain machine.
        Write("proc/self/status", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\n");
        Write("proc/self/uid_map", InitialNamespace);
        Write("proc/self/cgroup", "0::/user.slice/user-1000.slice/session-1.scope");
        Write("proc/1/cgroup", "0::/init.scope");
        Write("proc/meminfo", "MemTotal:       16000000 kB\nMemAvailable:   12000000 kB\nCommitLimit:  8000000 kB\nCommitted_AS:  1000000 kB\nHugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n");
        Write("proc/sys/vm/max_map_count", "65530");
        Write("proc/sys/vm/overcommit_memory", "0");
        Write("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999");
        Write("proc/sys/kernel/yama/ptrace_scope", "0");
        Write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never");
        Write("sys/devices/system/node/online", "0");
        Directory.CreateDirectory(PathOf("sys/devices/system/cpu/cpu0"));
        Directory.CreateDirectory(PathOf("sys/devices/system/cpu/cpufreq"));
        Directory.CreateDirectory(PathOf("dev/shm"));
    }

    public void Dispose() => _root.Dispose();

    [Fact]
    public void AHealthyPlainMachineHasNothingToSay()
    {
        using Examination examination = Examine(new DoctorOptions());
        Finding[] findings = [.. Check.All.Where(static c => !c.RunsApart).SelectMany(c => c.Run(examination))];
        Assert.All(findings, static f => Assert.True(f.Status is FindingStatus.Ok or FindingStatus.NotApplicable, f.ToString()));
        Assert.Equal(FindingStatus.NotApplicable, Assert.Single(findings, static f => f.Check == "devices").Status);
        Assert.DoesNotContain(findings, static f => f.Check == "links");
    }

    [Fact]
    public void EachProblemAndWarningHasOneLineOfAdvice()
    {
        Write("proc/sys/vm/max_map_count", "100");
        Write("proc/sys/vm/overcommit_memory", "2");
        Write("proc/sys/net/ipv4/ip_local_port_range", "60000\t60100");
        Write("proc/sys/kernel/yama/ptrace_scope", "1");
        Write("proc/self/cgroup", "0::/a");
        Write("sys/fs/cgroup/a/memory.max", "67108864");
        Write("sys/fs/cgroup/a/memory.current", "67000000");
        Write("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\nCommitLimit: 100000 kB\nCommitted_AS: 90000 kB\n");
        Device("mlx5_0", "1: DOWN");
        Directory.Delete(PathOf("dev/shm"));
        using Examination examination = Examine(new DoctorOptions(), lockLimit: 65536, files: 256);
        Finding[] findings = [.. Check.All.Where(static c => !c.RunsApart).SelectMany(c => c.Run(examination))];
        string[] found = [.. findings.Where(static f => f.Status is FindingStatus.Problem or FindingStatus.Warning).Select(static f => f.Check).Distinct()];
        Assert.Equal(["devices", "links", "memlock", "shm", "ptrace", "max_map_count", "overcommit", "cgroup", "files", "ports"], found);
        Assert.All(findings.Where(static f => f.Status is FindingStatus.Problem or FindingStatus.Warning), static f =>
        {
            Assert.False(string.IsNullOrWhiteSpace(f.Advice), f.ToString());
            Assert.DoesNotContain('\n', f.Advice);
        });
        Assert.Equal(1, new DoctorReport(findings, "").ExitCode);
    }

    [Theory]
    [InlineData("1000", "", "", "0 0 4294967295", "limits.conf")]
    [InlineData("0", "", "", "0 0 4294967295", "Run `ulimit -l unlimited`")]
    [InlineData("0", "", "", "0 1000 1", "before the user namespace is entered")]
    [InlineData("1000", "system.slice/my.service", "", "0 0 4294967295", "LimitMEMLOCK=infinity in the section [Service] of my.service")]
    [InlineData("0", "", ".dockerenv", "0 0 4294967295", "--ulimit memlock=-1:-1")]
    [InlineData("0", "", "run/.containerenv", "0 1000 1", "after the limit of the user who starts it was raised")]
    [InlineData("0", "kubepods/pod1", "kubernetes", "0 0 4294967295", "Add the capability IPC_LOCK")]
    [InlineData("0", "kubepods/pod1", "kubernetes", "0 1000 1", "has no effect in the pod's user namespace")]
    [InlineData("1000", "kubepods/pod1", "kubernetes", "0 0 4294967295", "counts only for a container that runs as root")]
    public void TheAdviceOnLockedMemoryIsThatOfThePlace(string user, string group, string mark, string map, string advice)
    {
        Write("proc/self/status", $"Uid:\t{user}\t{user}\t{user}\t{user}\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n");
        Write("proc/self/uid_map", map);
        Write("proc/self/cgroup", $"0::/{group}");
        if (mark == "kubernetes")
            Write("proc/1/cgroup", $"0::/{group}");
        else if (mark.Length > 0)
            Write(mark, "");
        using Examination examination = Examine(new DoctorOptions { LockBytes = 1 << 20 }, lockLimit: 65536);
        Finding finding = Assert.Single(new MemoryLockCheck().Run(examination));
        Assert.Equal(FindingStatus.Problem, finding.Status);
        Assert.Contains(advice, finding.Advice, StringComparison.Ordinal);
    }

    [Fact]
    public void ACapabilityInAUserNamespaceLiftsNoLimit()
    {
        Write("proc/self/status", "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n");
        using (Examination examination = Examine(new DoctorOptions(), lockLimit: 65536))
            Assert.Null(examination.LockLimit);
        Write("proc/self/uid_map", "0 1000 1");
        using (Examination examination = Examine(new DoctorOptions(), lockLimit: 65536))
            Assert.Equal(65536, examination.LockLimit);
    }

    [Fact]
    public void ALowLimitIsNoProblemWhereNothingLocks()
    {
        using Examination plain = Examine(new DoctorOptions(), lockLimit: 65536);
        Assert.Equal(FindingStatus.Ok, Assert.Single(new MemoryLockCheck().Run(plain)).Status);
        Device("mlx5_0", "4: ACTIVE");
        using Examination withDevice = Examine(new DoctorOptions(), lockLimit: 65536);
        Assert.Equal(FindingStatus.Problem, Assert.Single(new MemoryLockCheck().Run(withDevice)).Status);
    }

    [Fact]
    public void DevicesAndTheirLinksAreRead()
    {
        Device("mlx5_0", "4: ACTIVE");
        Write("sys/class/infiniband/mlx5_0/ports/1/rate", "100 Gb/sec (4X EDR)");
        Write("sys/class/infiniband/mlx5_0/ports/2/state", "1: DOWN");
        Write("dev/infiniband/uverbs0", "");
        Write("dev/infiniband/rdma_cm", "");
        using Examination examination = Examine(new DoctorOptions());
        Finding devices = Assert.Single(new DevicesCheck().Run(examination));
        Assert.Equal(FindingStatus.Ok, devices.Status);
        Assert.Equal("mlx5_0", (string?)devices.Facts!["devices"]![0]);
        Finding link = Assert.Single(new LinksCheck().Run(examination));
        Assert.Equal((FindingStatus.Ok, "mlx5_0: port 1 ACTIVE at 100 Gb/sec (4X EDR), port 2 DOWN"), (link.Status, link.Message));
    }

    [Fact]
    public void AnEfaDeviceNeedsNoConnectionManager()
    {
        Device("rdmap0", "4: ACTIVE");
        Write("sys/class/infiniband/rdmap0/device/vendor", "0x1d0f");
        Write("dev/infiniband/uverbs0", "");
        using Examination examination = Examine(new DoctorOptions());
        Assert.Equal(FindingStatus.Ok, Assert.Single(new DevicesCheck().Run(examination)).Status);
    }

    [Fact]
    public void AControlGroupsLimitIsRead()
    {
        Write("proc/self/cgroup", "0::/a/b");
        Write("sys/fs/cgroup/a/memory.max", "1073741824");
        Write("sys/fs/cgroup/a/memory.current", "1048576");
        Write("sys/fs/cgroup/a/b/memory.max", "max");
        using Examination examination = Examine(new DoctorOptions());
        Finding finding = Assert.Single(new CgroupCheck().Run(examination));
        Assert.Equal(FindingStatus.Ok, finding.Status);
        Assert.Equal(1073741824, (long?)finding.Facts!["limitBytes"]);
        Assert.Equal(1073741824 - 1048576, (long?)finding.Facts!["availableBytes"]);
    }

    [Fact]
    public void LeftoversInSharedMemoryAreNamed()
    {
        Write("dev/shm/alloctools-1-lx", "");
        Write("dev/shm/somebody-else", "");
        using Examination examination = Examine(new DoctorOptions());
        Finding[] findings = [.. new SharedMemoryCheck().Run(examination)];
        Assert.Equal(2, findings.Length);
        Assert.Contains("Endpoints have 1 file in /dev/shm, such as alloctools-1-lx", findings[1].Message, StringComparison.Ordinal);
        Assert.Equal(["alloctools-1-lx", "somebody-else"], new DirectoryInfo(PathOf("dev/shm")).GetFiles().Select(static f => f.Name).Order());
    }

    [Fact]
    public void ACheckThatRunsApartIsAskedOnceAndStandsInItsPlace()
    {
        using Examination examination = new(new DoctorOptions { Only = ["cgroup", "ucx", "libfabric"] }, new Machine(_root.Path) { Variable = static _ => null })
        {
            RunApart = static c => [new Finding(c.Name, FindingStatus.Problem, "x") { Advice = "y", Facts = new JsonObject { ["n"] = 1 } }],
        };
        DoctorReport report = examination.Run();
        Assert.Equal(["libfabric", "ucx", "cgroup"], report.Findings.Select(static f => f.Check));
        Assert.Equal(1, report.ExitCode);
        JsonObject json = JsonNode.Parse(report.ToJson())!.AsObject();
        Assert.Equal(1, (int?)json["format"]);
        Assert.Equal(["check", "status", "message", "advice", "facts"], json["findings"]![0]!.AsObject().Select(static p => p.Key));
        Assert.Equal("problem", (string?)json["findings"]![0]!["status"]);
    }

    [Theory]
    [InlineData("1000", "0000000000000000", "0 0 4294967295", 1, false)]
    [InlineData("0", "000001ffffffffff", "0 0 4294967295", 1, true)]
    [InlineData("0", "000001ffffffffff", "0 0 4294967295", 2, true)]
    [InlineData("0", "000001ffffffffff", "0 0 4294967295", 3, false)]
    [InlineData("0", "000001ffffffffff", "0 1000 1", 1, false)]
    [InlineData("1000", "0000000000000000", "0 0 4294967295", 0, true)]
    public void YamaDoesNotBindAProcessWithTheCapability(string user, string effective, string map, int scope, bool may)
    {
        Write("proc/self/status", $"Uid:\t{user}\t{user}\t{user}\t{user}\nCapEff:\t{effective}\nCapBnd:\t000001ffffffffff\n");
        Write("proc/self/uid_map", map);
        Write("proc/sys/kernel/yama/ptrace_scope", $"{scope}");
        using Examination examination = Examine(new DoctorOptions());
        Finding finding = Assert.Single(new KernelCopiesCheck().Run(examination));
        Assert.Equal((may ? FindingStatus.Ok : FindingStatus.Warning, may), (finding.Status, (bool?)finding.Facts!["copies"]));
    }

    [Fact]
    public void WhatNoSettingsAskForIsAWarning()
    {
        Device("mlx5_0", "4: ACTIVE");
        Device("mlx5_1", "1: DOWN");
        Write("dev/infiniband/uverbs0", "");
        Directory.Delete(PathOf("dev/shm"));
        Write("proc/sys/vm/overcommit_memory", "2");
        Write("proc/meminfo", "MemTotal: 16000000 kB\nCommitLimit: 100000 kB\nCommitted_AS: 90000 kB\n");
        using Examination plain = Examine(new DoctorOptions());
        AssertStatus(FindingStatus.Warning, plain, new DevicesCheck(), new SharedMemoryCheck(), new OvercommitCheck());
        Assert.Equal([FindingStatus.Ok, FindingStatus.Warning], new LinksCheck().Run(plain).Select(static f => f.Status));
        using Examination shm = ExamineWith("""{ "Provider": { "Provider": "shm" } }""");
        AssertStatus(FindingStatus.Problem, shm, new SharedMemoryCheck(), new OvercommitCheck());
        using Examination verbs = ExamineWith("""{ "Provider": { "Provider": "verbs;ofi_rxm" } }""");
        AssertStatus(FindingStatus.Problem, verbs, new DevicesCheck());
        AssertStatus(FindingStatus.Warning, verbs, new SharedMemoryCheck());

        static void AssertStatus(FindingStatus status, Examination examination, params Check[] checks) =>
            Assert.All(checks, c => Assert.Equal(status, Assert.Single(c.Run(examination)).Status));
    }

    [Theory]
    [InlineData("tcp;ofi_rxm", ProviderKind.Libfabric, false)]
    [InlineData("shm", ProviderKind.Libfabric, false)]
    [InlineData("verbs;ofi_rxm", ProviderKind.Libfabric, true)]
    [InlineData("ucx", ProviderKind.Libfabric, true)]
    [InlineData(null, ProviderKind.Libfabric, true)]
    [InlineData(null, ProviderKind.Ucx, true)]
    [InlineData(null, ProviderKind.Host, false)]
    public void ADeviceAsksToLockWhereTheSettingsMayUseIt(string? fabric, ProviderKind kind, bool asks)
    {
        string json = fabric is null ? "{ \"MaxRegisteredBytes\": \"64 MiB\" }" : $$"""{ "Provider": { "Provider": "{{fabric}}" } }""";
        using (Examination without = ExamineWith(json, kind))
            Assert.False(without.AsksToLock);
        Device("mlx5_0", "4: ACTIVE");
        using Examination examination = ExamineWith(json, kind);
        Assert.Equal(kind, examination.Settings!.Kind);
        Assert.Equal(asks, examination.AsksToLock);
    }

    [Fact]
    public void TheAdviceOnSharedMemoryIsEnoughForAllProcessors()
    {
        for (int i = 1; i < 256; i++)
            Directory.CreateDirectory(PathOf($"sys/devices/system/cpu/cpu{i}"));
        using Examination examination = Examine(new DoctorOptions());
        Finding finding = new SharedMemoryCheck().Run(examination).First();
        // The free space is that of the real machine.
        if ((long)finding.Facts!["freeBytes"]! >= 4L << 30)
            Assert.Equal(FindingStatus.Ok, finding.Status);
        else
            Assert.True(long.Parse(finding.Advice!.Split("size=")[1].Split('m')[0], System.Globalization.CultureInfo.InvariantCulture) >= 4112, finding.Advice);
        Assert.Equal((4L << 30, (4L << 30) + (16 << 20)), ((long?)finding.Facts!["neededBytes"], (long?)finding.Facts!["neededForOneEndpointBytes"]));
        Assert.Contains("an endpoint of shm needs 4,112 MiB here: 16 MiB for each of 256 processors, and as much for itself", finding.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0", "This machine has one NUMA node (0)")]
    [InlineData("0-2,5", "This machine has 4 NUMA nodes (0-2,5)")]
    public void NumaNodesAreCounted(string online, string message)
    {
        Write("sys/devices/system/node/online", online);
        using Examination examination = Examine(new DoctorOptions());
        Assert.Equal(message, Assert.Single(new NumaCheck().Run(examination)).Message);
        Device("mlx5_0", "4: ACTIVE");
        Write("sys/class/infiniband/mlx5_0/device/numa_node", "-1");
        Assert.Equal(message + "; mlx5_0 is at no known node", Assert.Single(new NumaCheck().Run(examination)).Message);
    }

    [Fact]
    public void ANameOfTheReportAsksForItsCheck()
    {
        static Finding Named(string name) => new(name, FindingStatus.Ok, "x");
        using Examination both = new(new DoctorOptions { Only = ["providers"] }, new Machine(_root.Path)) { RunApart = static _ => [Named("libfabric"), Named("providers")] };
        Assert.Equal(["providers"], both.Run().Findings.Select(static f => f.Check));
        // If there is no finding of that name, the other lines give the reason.
        using Examination missing = new(new DoctorOptions { Only = ["providers"] }, new Machine(_root.Path)) { RunApart = static _ => [Named("libfabric")] };
        Assert.Equal(["libfabric"], missing.Run().Findings.Select(static f => f.Check));
    }

    [Theory]
    [InlineData(8, true, "")]
    [InlineData(3, false, "vm.nr_hugepages=4")]
    public void EachSlabTakesWholeHugePages(int reserved, bool isEnough, string advice)
    {
        Write("proc/meminfo", $"MemTotal: 16000000 kB\nHugePages_Total: {reserved}\nHugePages_Free: {reserved}\nHugepagesize: 2048 kB\n");
        // Three slabs of 4 KiB, 128 KiB and 3 MiB: 1 + 1 + 2 pages.
        using Examination examination = ExamineWith("""{ "HugePages": "Transparent", "SizeClasses": [ { "BlockSize": "4 KiB", "InitialBlocks": 1 }, { "BlockSize": "64 KiB", "InitialBlocks": 2 }, { "BlockSize": "1 MiB", "InitialBlocks": 3 } ] }""");
        examination.Settings!.Pool!.HugePages = RmaHugePages.Explicit;
        Finding finding = Assert.Single(new HugePagesCheck().Run(examination));
        Assert.Equal(isEnough ? FindingStatus.Ok : FindingStatus.Problem, finding.Status);
        Assert.Contains(advice, finding.Advice ?? "", StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1", "99999", "a port must be a number between 0 and 65535")]
    [InlineData(null, "0", "can't be resolved")]
    public void AnAddressThatCanNotBeUsedIsAProblem(string? node, string service, string message)
    {
        using Examination examination = Examine(new DoctorOptions { Node = node ?? new string('a', 300), Service = service });
        Finding finding = new PortsCheck().Run(examination).Last();
        Assert.Equal(FindingStatus.Problem, finding.Status);
        Assert.Contains(message, finding.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void FaultsAreThoseOfTheVersion()
    {
        Assert.Single(KnownFault.Of(KnownFault.OfLibfabric, new Version(1, 17)));
        Assert.Single(KnownFault.Of(KnownFault.OfLibfabric, new Version(2, 6)));
        Assert.Empty(KnownFault.Of(KnownFault.OfLibfabric, new Version(2, 7)));
        Assert.Single(KnownFault.Of(KnownFault.OfUcx, new Version(1, 19, 0)));
        Assert.Empty(KnownFault.Of(KnownFault.OfUcx, new Version(1, 19, 1)));
    }

    /// <summary>
    /// Examines a machine of which nothing is real: anything that a test does not set is that of a healthy one.
    /// </summary>
    private Examination Examine(DoctorOptions options, long lockLimit = 8 << 20, long files = 20000) => new(options, new Machine(_root.Path)
    {
        MemoryLockLimit = (lockLimit, lockLimit),
        OpenFilesLimit = (files, files),
        TryLock = b => b > lockLimit ? 12 : 0,
        MayCopyMemory = static () => true,
        Variable = static _ => null,
        Rights = AllocTools.Interop.ProcessRights.Read(PathOf("proc/self")),
    });

    private Examination ExamineWith(string json, ProviderKind kind = ProviderKind.Libfabric) =>
        Examine(new DoctorOptions { Provider = kind, Section = new ConfigurationBuilder().AddJsonStream(new MemoryStream(Encoding.UTF8.GetBytes($$"""{ "Pool": {{json}} }"""))).Build().GetSection("Pool") });

    private void Device(string name, string state) => Write($"sys/class/infiniband/{name}/ports/1/state", state);

    private string PathOf(string path) => Path.Combine(_root.Path, path);

    private void Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(PathOf(path))!);
        File.WriteAllText(PathOf(path), text);
    }
}
