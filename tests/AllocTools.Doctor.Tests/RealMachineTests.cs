using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AllocTools.Libfabric;
using AllocTools.Testing;
using AllocTools.Ucx;
using Xunit;

namespace AllocTools.Doctor.Tests;

/// <summary>Tests the tool's executable on this machine, with real limits.</summary>
public sealed class RealMachineTests
{
    private static readonly string[] All = ["doctor", "--json"];

    [Fact]
    public async Task WhatItSaysIsWhatTheMachineHas()
    {
        Tool run = await Tool.RunAsync(All);
        JsonObject report = run.Json;
        // Whether this machine has a problem does not matter here.
        Assert.Equal(report["findings"]!.AsArray().Any(static f => (string?)f!["status"] == "problem") ? 1 : 0, run.ExitCode);
        Assert.Equal(run.ExitCode, (int?)report["exitCode"]);

        JsonObject library = run.Findings("libfabric")[0];
        Assert.Equal(LibfabricProvider.IsSupported, (string?)library["status"] == "ok");
        Assert.True(File.Exists((string?)library["facts"]!["path"]));
        foreach ((bool isUsable, string[] names) in new[] { (true, (string[])["shm", "tcp;ofi_rxm"]), (false, ["tcp", "udp"]) })
        {
            JsonObject[] providers = [.. run.Findings("providers").Where(f => (bool?)f["facts"]!["usable"] == isUsable)];
            Assert.Empty(names.Except(providers.SelectMany(static f => f["facts"]!["providers"]!.AsArray()).Select(static p => (string)p!)));
            Assert.All(providers, f => Assert.StartsWith($"Usable for RMA: {(isUsable ? "yes" : "no")}: ", (string?)f["message"], StringComparison.Ordinal));
        }
        Assert.Equal(UcxProvider.IsSupported, (string?)run.Findings("ucx")[0]["status"] == "ok");
        Assert.Contains("tcp/lo", run.Findings("transports")[0]["facts"]!["transports"]!.AsArray().Select(static t => (string?)t));
        Assert.Contains("Open MPI", (string?)run.Findings("openmpi")[0]["message"], StringComparison.Ordinal);
        Assert.Contains("MPICH", (string?)run.Findings("mpich")[0]["message"], StringComparison.Ordinal);
        Assert.Equal(new DriveInfo("/dev/shm").TotalSize, (long?)run.Findings("shm")[0]["facts"]!["sizeBytes"]);
        Assert.Equal(long.Parse(File.ReadAllText("/proc/sys/vm/max_map_count"), CultureInfo.InvariantCulture), (long?)run.Findings("max_map_count")[0]["facts"]!["maxMapCount"]);
        Assert.DoesNotContain(new DirectoryInfo("/dev/shm").GetFiles(), f => f.Name.StartsWith($"alloctools-doctor-{run.ProcessId}-", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AsTextEachFindingIsALine()
    {
        Tool run = await Tool.RunAsync("doctor", "--only", "memlock,shm", "--only", "devices");
        string[] lines = run.Output.TrimEnd().Split('\n');
        Assert.DoesNotContain('\u001b', run.Output);
        Assert.Matches("^(ok|-|warning|problem) +devices +", lines[0]);
        Assert.Matches("^ok +memlock +", lines[1]);
        Assert.Matches(@"^\d+ problems?, \d+ warnings?; examined as ", lines[^1]);
    }

    [Fact]
    public async Task ALowLimitIsFoundByLocking()
    {
        // It runs without the capability, which root has and others don't.
        Tool run = await Tool.StartAsync("unshare", "-Ur", "prlimit", "--memlock=1048576", Tool.Program, "doctor", "--json", "--only", "memlock", "--lock", "4 MiB");
        Assert.True(run.ExitCode == 1, run.Output + run.Errors);
        JsonObject finding = run.Findings("memlock")[0];
        Assert.Equal("problem", (string?)finding["status"]);
        Assert.Equal(1048576, (long?)finding["facts"]!["limitBytes"]);
        Assert.InRange((long)finding["facts"]!["lockedBytes"]!, 0, 1048576);
        Assert.True((bool?)finding["facts"]!["userNamespace"]);
        Assert.NotEmpty((string?)finding["advice"] ?? "");

        Tool enough = await Tool.StartAsync("unshare", "-Ur", "prlimit", "--memlock=8388608", Tool.Program, "doctor", "--json", "--only", "memlock", "--lock", "4 MiB");
        Assert.True(enough.ExitCode == 0, enough.Output + enough.Errors);
        Assert.Equal(4 << 20, (long?)enough.Findings("memlock")[0]["facts"]!["lockedBytes"]);
    }

    [Fact]
    public async Task WithAnotherRootTheRightsAreThoseOfThisProcess()
    {
        using TemporaryFolder root = new();
        Tool own = await Tool.RunAsync("doctor", "--json", "--only", "memlock");
        Tool other = await Tool.RunAsync("doctor", "--json", "--only", "memlock", "--root", root.Path);
        foreach (string fact in new[] { "root", "bound", "userNamespace" })
            Assert.Equal((bool?)own.Findings("memlock")[0]["facts"]![fact], (bool?)other.Findings("memlock")[0]["facts"]![fact]);
        Assert.EndsWith($", with /proc, /sys and /dev of {root.Path}", (string?)other.Json["surroundings"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task ASmallSharedMemoryIsFound()
    {
        Tool run = await Tool.StartAsync("unshare", "-Urm", "sh", "-c", $"mount -t tmpfs -o size=2m tmpfs /dev/shm && exec '{Tool.Program}' doctor --json --only shm");
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        JsonObject finding = run.Findings("shm")[0];
        Assert.Equal("warning", (string?)finding["status"]);
        Assert.Equal(2 << 20, (long?)finding["facts"]!["sizeBytes"]);
    }

    [Fact]
    public async Task WithoutLibfabricItSaysHowToInstallIt()
    {
        string path = (string)(await Tool.RunAsync("doctor", "--json", "--only", "libfabric")).Findings("libfabric")[0]["facts"]!["path"]!;
        Tool run = await Tool.StartAsync("unshare", "-Urm", "sh", "-c", $"mount --bind /dev/null '{path}' && exec '{Tool.Program}' doctor --json --only libfabric");
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        JsonObject finding = Assert.Single(run.Findings("libfabric"));
        Assert.Equal("warning", (string?)finding["status"]);
        Assert.Contains("libfabric1", (string?)finding["advice"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task APortThatIsTakenIsFound()
    {
        using Socket taken = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        string port = ((IPEndPoint)taken.LocalEndPoint!).Port.ToString(CultureInfo.InvariantCulture);
        Tool run = await Tool.RunAsync("doctor", "--json", "--only", "ports", "--node", "127.0.0.1", "--service", port);
        Assert.Equal(1, run.ExitCode);
        Assert.Equal("problem", (string?)run.Findings("ports")[1]["status"]);
        Tool free = await Tool.RunAsync("doctor", "--json", "--only", "ports", "--node", "127.0.0.1");
        Assert.True(free.ExitCode == 0, free.Output);
        Tool elsewhere = await Tool.RunAsync("doctor", "--json", "--only", "ports", "--node", "192.0.2.1");
        Assert.Contains("address of this machine", (string?)elsewhere.Findings("ports")[1]["advice"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--jsn", "Unknown option '--jsn'. Did you mean --json?")]
    [InlineData("--settings=/nowhere.json", "--settings is '/nowhere.json'; there is no such file.")]
    [InlineData("--only=memlock,shn", "--only is 'shn'. Did you mean shm?")]
    [InlineData("--only=a\tb", "--only is 'a b'. It must be one of libfabric, providers, ucx, transports, ")]
    [InlineData("--only=memlok", "--only is 'memlok'. Did you mean memlock?")]
    [InlineData("--lock=4k", "--lock is '4k'; it must be a number of bytes")]
    [InlineData("--settings=/tmp", "--settings is '/tmp', which is a folder")]
    [InlineData("--service=99999", "--service needs --node")]
    [InlineData("--section=Foo", "--section needs --settings")]
    [InlineData("--root=/nonexist", "--root is '/nonexist'; there is no such folder.")]
    [InlineData("--provider=shm", "--provider is 'shm'. It must be one of libfabric, ucx, mpi, host.")]
    public async Task WrongUsageIsOneLine(string argument, string line)
    {
        Tool run = await Tool.RunAsync("doctor", argument);
        Assert.Equal(2, run.ExitCode);
        Assert.Empty(run.Output);
        Assert.StartsWith(line, run.Errors, StringComparison.Ordinal);
        Assert.Single(run.Errors.TrimEnd().Split('\n'));
    }

    [Fact]
    public async Task WithoutACommandTheCommandsAreListed()
    {
        Tool run = await Tool.RunAsync();
        Assert.Equal((1, "A command is missing."), (run.ExitCode, run.Errors.TrimEnd()));
        Assert.Matches(@"\n  doctor +Examine ", run.Output);
        Assert.Matches(@"\n  bench .*Measure ", run.Output);
        foreach (string[] arguments in (string[][])[["--help"], ["doctor", "--help"], ["bench", "--help"]])
        {
            Tool help = await Tool.RunAsync(arguments);
            Assert.Equal(0, help.ExitCode);
            Assert.Matches($@"\n  alloctools {(arguments.Length == 1 ? "" : arguments[0])}", help.Output);
            Assert.DoesNotContain("AllocTools.Tool", help.Output, StringComparison.Ordinal);
        }
        Assert.Matches(@"^\d+\.\d+\.\d+", (await Tool.RunAsync("--version")).Output);
    }

    [Fact]
    public async Task AnUnknownCommandIsOneLine()
    {
        Tool run = await Tool.RunAsync("docter");
        Assert.Equal(2, run.ExitCode);
        Assert.Equal("Unknown command or argument 'docter'. Did you mean doctor?", run.Errors.TrimEnd());
    }
}
