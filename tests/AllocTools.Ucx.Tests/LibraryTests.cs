using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Ucx.Interop;
using Xunit;

namespace AllocTools.Ucx.Tests;

/// <summary>Tests which UCX a process loads, and the errors for values that UCX refuses, each in a separate process.</summary>
public sealed class LibraryTests
{
    private const string Default = "libucp.so.0";

    /// <summary>Two libucp would share one libucs, which is that of the first.</summary>
    [Fact]
    public async Task AProcessHasOneUcxWhichIsSupportedDoesNotLoad()
    {
        using var copies = new Copies();
        string[] said = await OpenAsync([$"LD_LIBRARY_PATH={copies.Folder}"], "libc.so.6", copies.Library, Default, copies.System, copies.Library);
        Assert.Equal("there, 0 mapped", said[0]);
        Assert.Contains("libc.so.6 is not UCX 1.11 or later: it has no function ucp_", said[1], StringComparison.Ordinal);
        Assert.Equal(["opened", "opened"], said[2..4]);
        Assert.Contains($"LibraryPath is '{copies.System}', but {copies.Library} was already loaded in this process", said[4], StringComparison.Ordinal);
        Assert.Equal("opened", said[5]);
    }

    /// <summary>Open MPI, which may be built on UCX, does this.</summary>
    [Fact]
    public async Task AnotherUcxThanTheApplicationHasLoadedIsRefused()
    {
        using var copies = new Copies();
        string[] said = await OpenAsync([], "load:libucs.so.0", copies.Library, copies.System, Default);
        Assert.Contains($"LibraryPath is '{copies.Library}', but {Path.GetDirectoryName(copies.System)}/libucs.so.", said[1], StringComparison.Ordinal);
        Assert.Contains("a process can use only one UCX", said[1], StringComparison.Ordinal);
        Assert.Equal(["opened", "opened"], said[2..4]);
    }

    [Theory]
    [InlineData("UCX_TLS", "bogus", "UCX_TLS of the environment is 'bogus', and Devices is 'lo'.")]
    [InlineData("UCX_NET_DEVICES", "nosuch0", "Transports is 'tcp', and UCX_NET_DEVICES of the environment is 'nosuch0'.")]
    public async Task WhatTheEnvironmentDecidesIsNamedWhereItIsWrong(string variable, string value, string expected)
    {
        string[] said = await OpenAsync([$"{variable}={value}"], Default);
        Assert.Contains("ucp_init failed with ENODEV", said[1], StringComparison.Ordinal);
        Assert.Contains(expected, said[1], StringComparison.Ordinal);
    }

    /// <summary>
    /// UCX checks most of them when an endpoint is opened. They belong to the process: another pool is affected, too.
    /// </summary>
    [Fact]
    public async Task SettingsThatUcxMayRefuseAreNamed()
    {
        string[] said = await OpenAsync([], "UCX_TCP_TX_SEG_SIZE=garbage", Default);
        Assert.Contains("ucp_worker_create failed with EINVAL", said[1], StringComparison.Ordinal);
        Assert.Contains("UCX_TCP_TX_SEG_SIZE=garbage", said[1], StringComparison.Ordinal);
    }

    private static async Task<string[]> OpenAsync(string[] variables, params string[] words)
    {
        await using var process = new PeerProcess(["env", .. variables], ["ucx-open", .. words]);
        return (await process.ReadToEndAsync()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>A copy of the system's UCX in another folder.</summary>
    private sealed class Copies : IDisposable
    {
        public Copies()
        {
            using IRmaContext context = UcxFabric.Open(UcxFabric.Any);
            string folder = Path.GetDirectoryName(UcxLibrary.FindMapped())!;
            System = Path.Combine(folder, Default);
            foreach (string name in new[] { "libucp", "libucs", "libuct", "libucm" })
                File.Copy(Path.Combine(folder, name + ".so.0"), Path.Combine(Folder, name + ".so.0"));
        }

        public string Folder { get; } = Directory.CreateTempSubdirectory("alloctools-ucx-").FullName;

        public string Library => Path.Combine(Folder, Default);

        public string System { get; }

        public void Dispose() => Directory.Delete(Folder, recursive: true);
    }
}
