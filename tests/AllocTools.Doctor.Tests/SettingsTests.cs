using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Blocks;
using AllocTools.Testing;
using AllocTools.Validation;
using Microsoft.Extensions.Configuration;
using Xunit;

namespace AllocTools.Doctor.Tests;

/// <summary>Tests the tool's executable with an appsettings.json, and the sample's --doctor.</summary>
public sealed class SettingsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task GoodSettingsSayWhatThePoolRegisters()
    {
        Tool run = await DoctorAsync("""
            { "AllocTools": { "MaxRegisteredBytes": "64 MiB", "SizeClasses": [ { "BlockSize": "16 KiB", "InitialBlocks": 64 }, { "BlockSize": "1 MiB", "InitialBlocks": 4 } ],
              "Connections": { "MaxRingBytes": "2 MiB" }, "Provider": { "Provider": "tcp;ofi_rxm", "Node": "127.0.0.1" } } }
            """);
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        JsonObject facts = run.Findings("settings")[0]["facts"]!.AsObject();
        Assert.Equal((5 << 20, 64 << 20), ((long?)facts["startBytes"], (long?)facts["capBytes"]));
        Assert.Equal("tcp;ofi_rxm", (string?)run.Findings("provider")[0]["facts"]!["provider"]);
        Assert.False((bool?)run.Findings("provider")[0]["facts"]!["locksPages"]);
        Assert.Contains("127.0.0.1", (string?)run.Findings("ports")[1]["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task BadSettingsAreNamedAsAHostNamesThem()
    {
        Tool run = await DoctorAsync("""
            { "AllocTools": { "MaxRegisteredByts": "64 MiB", "MaxSlabBytes": 5, "Provider": { "Provider": "tcp;ofi_rxm" } } }
            """);
        Assert.Equal(1, run.ExitCode);
        string[] messages = [.. run.Findings("settings").Select(static f => (string)f["message"]!)];
        Assert.Contains(messages, static m => m.Contains("AllocTools:MaxRegisteredByts", StringComparison.Ordinal) && m.Contains("Did you mean MaxRegisteredBytes?", StringComparison.Ordinal));
        Assert.Contains(messages, static m => m.StartsWith("AllocTools:MaxSlabBytes is 5", StringComparison.Ordinal));
        Assert.All(run.Findings("settings"), static f => Assert.Equal("problem", (string?)f["status"]));
    }

    [Theory]
    [InlineData("{\n  \"AllocTools\": {\n    \"MaxSlabBytes\" 5\n  }\n}", "appsettings.json, line 3, is not valid JSON: '5' is invalid after a property name. Expected a ':'.")]
    [InlineData("[]", "appsettings.json can't be read: Top-level JSON element must be an object. Instead, 'Array' was found.")]
    public async Task AFileThatIsBrokenIsAProblemAndTheRestIsExamined(string text, string message)
    {
        Tool run = await DoctorAsync(text);
        Assert.Equal(1, run.ExitCode);
        JsonObject finding = Assert.Single(run.Findings("settings"));
        Assert.Equal(("problem", Path.Combine(_folder.Path, message)), ((string?)finding["status"], (string?)finding["message"]));
        Assert.Equal("The settings can't be read", (string?)Assert.Single(run.Findings("provider"))["message"]);
        Assert.All((string[])["libfabric", "providers", "ucx", "memlock", "shm", "ports"], check => Assert.NotEmpty(run.Findings(check)));
        Assert.Empty(run.Errors);
    }

    [Fact]
    public async Task APortThatIsTakenIsAProblemOfTheProviderToo()
    {
        using Socket taken = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        string settings = $$$"""{ "AllocTools": { "Provider": { "Provider": "tcp;ofi_rxm", "Node": "127.0.0.1", "Service": "{{{((IPEndPoint)taken.LocalEndPoint!).Port}}}" } } }""";
        Tool run = await DoctorAsync(settings, "--only", "ports,provider");
        Assert.Equal(1, run.ExitCode);
        Assert.Equal("problem", (string?)run.Findings("ports")[1]["status"]);
        JsonObject provider = Assert.Single(run.Findings("provider"));
        Assert.Equal("problem", (string?)provider["status"]);
        Assert.Contains("but its endpoint can't open: 127.0.0.1:", (string?)provider["message"], StringComparison.Ordinal);
        // This holds even if the check of ports is not requested.
        Assert.Equal(1, (await DoctorAsync(settings, "--only", "provider")).ExitCode);
        taken.Dispose();
        Assert.Equal(0, (await DoctorAsync(settings, "--only", "ports,provider")).ExitCode);
    }

    [Fact]
    public async Task SettingsThatLieInTheFolderAreNamed()
    {
        Write("{}");
        string inFolder = $"cd '{_folder.Path}' && exec '{Tool.Program}' doctor --json --only settings";
        Tool run = await Tool.StartAsync("sh", "-c", inFolder);
        Assert.Equal(0, run.ExitCode);
        Assert.Contains("`--settings appsettings.json` examines it", (string?)Assert.Single(run.Findings("settings"))["message"], StringComparison.Ordinal);
        File.Delete(Path.Combine(_folder.Path, "appsettings.json"));
        Assert.Equal("No settings were given (--settings FILE)", (string?)(await Tool.StartAsync("sh", "-c", inFolder)).Findings("settings")[0]["message"]);
    }

    [Fact]
    public async Task AProviderThatIsNotHereIsAProblem()
    {
        Tool run = await DoctorAsync("""{ "AllocTools": { "Provider": { "Provider": "efa" } } }""", "--only", "provider");
        Assert.Equal(1, run.ExitCode);
        JsonObject finding = Assert.Single(run.Findings("provider"));
        Assert.Contains("offers nothing for Provider 'efa'", (string?)finding["message"], StringComparison.Ordinal);
        Assert.NotEmpty((string?)finding["advice"] ?? "");
    }

    [Fact]
    public async Task ASectionThatIsNotThereIsAProblem()
    {
        Tool run = await DoctorAsync("""{ "AllocTools": { } }""", "--section", "Pool", "--only", "settings");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("Pool", (string?)run.Findings("settings")[0]["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task APoolThatLocksMoreThanItMayIsAProblem()
    {
        string file = Write("""{ "AllocTools": { "MaxRegisteredBytes": "64 MiB", "Provider": { "Locking": "Required" } } }""");
        Tool run = await Tool.StartAsync("unshare", "-Ur", "prlimit", "--memlock=1048576", Tool.Program, "doctor", "--json", "--settings", file, "--provider", "host", "--only", "memlock", "--only", "provider");
        Assert.True(run.ExitCode == 1, run.Output + run.Errors);
        Assert.Equal("problem", (string?)run.Findings("memlock")[0]["status"]);
        Assert.Contains(run.Findings("provider"), static f => ((string)f["message"]!).Contains("RLIMIT_MEMLOCK is 1 MiB", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("""{ "AllocTools": { "MaxRegisteredBytes": "1 GiB" } }""")]
    [InlineData("""{ "AllocTools": { "SizeClasses": [ { "BlockSize": 4992, "InitialBlocks": 3 }, { "BlockSize": "100 KiB", "InitialBlocks": 700 } ] } }""")]
    [InlineData("""{ "AllocTools": { "MaxSlabBytes": "64 KiB", "SizeClasses": [ { "BlockSize": "3 KiB", "InitialBlocks": 200 } ] } }""")]
    [InlineData("""{ "AllocTools": { "SizeClasses": [ { "BlockSize": "4 KiB", "InitialBlocks": 3 }, { "BlockSize": "1 MiB", "InitialBlocks": 5 } ] } }""", 2 << 20)]
    public async Task WhatIsForetoldIsWhatAPoolRegisters(string json, int page = 4096)
    {
        IConfigurationSection section = new ConfigurationBuilder().AddJsonFile(Write(json)).Build().GetSection("AllocTools");
        using ExaminedPool settings = ExaminedPool.Read(section, "here", ProviderKind.Host);
        Assert.Empty(settings.Failures);
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        await using var pool = new RmaMemoryPool<HostProvider>(context, settings.Pool!, blocks: new PagesOf(page));
        await pool.WarmUpAsync(TestContext.Current.CancellationToken);
        Assert.Equal(pool.GetStatistics().RegisteredBytes, SystemRules.StartBytes(settings.Pool!, page));
    }

    [Fact]
    public async Task TheSampleExaminesItsOwnSettings()
    {
        string sample = Path.Combine(Repository.Root, "artifacts/bin/WorkerService/release/WorkerService");
        Tool good = await Tool.StartAsync(sample, "--doctor");
        Assert.True(good.ExitCode == 0, good.Output + good.Errors);
        Assert.Contains("the pool registers 5 MiB (5,275,648 bytes) at its start, and up to 64 MiB", good.Output, StringComparison.Ordinal);
        Assert.Contains("tcp;ofi_rxm opens here", good.Output, StringComparison.Ordinal);
        Tool bad = await Tool.StartAsync(sample, "--doctor", "--AllocTools:MaxSlabBytes=5");
        Assert.Equal(1, bad.ExitCode);
        Assert.Contains("AllocTools:MaxSlabBytes is 5", bad.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{ "LibraryPath": "/nowhere/libmpi.so" }""", "LibraryPath is '/nowhere/libmpi.so'")]
    public async Task MpiIsLookedForWhereTheSettingsSay(string provider, string message)
    {
        Tool run = await DoctorAsync($$"""{ "AllocTools": { "Provider": {{provider}} } }""", "--provider", "mpi", "--only", "provider");
        Assert.True(run.ExitCode == 1, run.Output + run.Errors);
        Assert.Contains(message, (string?)Assert.Single(run.Findings("provider"))["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task WithoutAnyMpiThePoolThatNeedsOneIsAProblem()
    {
        string file = Write("""{ "AllocTools": { "MaxRegisteredBytes": "64 MiB" } }""");
        string[] arguments = ["doctor", "--json", "--settings", file, "--provider", "mpi", "--only", "provider", "--only", "openmpi", "--only", "mpich"];
        Tool with = await Tool.RunAsync(arguments);
        Assert.True(with.ExitCode == 0, with.Output + with.Errors);
        string hide = string.Concat(((string[])["openmpi", "mpich"]).Select(c => $"mount --bind /dev/null '{(string?)with.Findings(c)[0]["facts"]!["path"]}' && "));
        Tool without = await Tool.StartAsync("unshare", ["-Urm", "sh", "-c", $"{hide}exec \"$@\"", "sh", Tool.Program, .. arguments]);
        Assert.True(without.ExitCode == 1, without.Output + without.Errors);
        Assert.Equal("problem", (string?)Assert.Single(without.Findings("provider"))["status"]);
    }

    /// <summary>Memory with pages of another size, like that of huge pages.</summary>
    private sealed class PagesOf(int size) : IBlockAllocator
    {
        private readonly PageAllocator _pages = new();

        public int PageSize => size;

        public nint Allocate(long length, bool populate) => _pages.Allocate(length, populate);

        public void Free(nint address, long length) => _pages.Free(address, length);
    }

    private Task<Tool> DoctorAsync(string json, params string[] more) => Tool.RunAsync(["doctor", "--json", "--settings", Write(json), .. more]);

    private string Write(string json)
    {
        string path = Path.Combine(_folder.Path, "appsettings.json");
        File.WriteAllText(path, json);
        return path;
    }
}
