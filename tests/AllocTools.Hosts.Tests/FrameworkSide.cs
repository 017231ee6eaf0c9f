using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>A process of the framework tests on a host: a server or a client of gRPC, a silo or a client of Orleans.</summary>
internal static class FrameworkSide
{
    /// <summary>Starts a process, and waits until it is ready.</summary>
    public static async Task<PeerProcess> StartAsync(NetworkHost host, string fabric, string what, params string[] addresses)
    {
        string folder = PeerProcess.BuiltFolder.Replace("AllocTools.TestPeer", "AllocTools.Frameworks.Tests", StringComparison.Ordinal);
        var process = PeerProcess.Run([.. host.Inside, Path.Combine(folder, "AllocTools.Frameworks.Tests"), what, fabric.Replace("NODE", host.Address, StringComparison.Ordinal), .. addresses]);
        Assert.Equal("ready", await process.AnswerAsync());
        return process;
    }

    /// <summary>Asserts that it ends with its input, and then has no connection, and nothing rented or in quarantine.</summary>
    public static async Task AssertEndsCleanAsync(PeerProcess process)
    {
        process.CloseInput();
        (int exitCode, string output) = await process.EndAsync();
        Assert.Equal((0, "0 0 0"), (exitCode, output.TrimEnd()));
    }
}
