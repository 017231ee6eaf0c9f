using System.Diagnostics;
using System.Globalization;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>A child process has nothing of an endpoint's: else a port stays taken, and a connection open, when this process ends.</summary>
public sealed class ChildProcessTests
{
    private const int CloseOnExec = 0x80000;

    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AChildInheritsNoSocketOfAnEndpoint(string fabric)
    {
        HashSet<string> before = [.. Sockets("self").Values];
        await using var pair = new EndpointPair(fabric);
        // What was opened is closed to children at once.
        Assert.Empty(InheritedBy(before));
        using RmaBuffer sent = pair.Left.Pool.Rent(64);
        using RmaBuffer received = pair.Right.Pool.Rent(64);
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(sent, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
        // And the connection a little later; so are those that other tests open meanwhile.
        List<string> inherited = [];
        Assert.True(SpinWait.SpinUntil(
            () => !Sockets("self").Any(s => !before.Contains(s.Value) && IsInheritable(s.Key)) && (inherited = InheritedBy(before)).Count == 0, TestTime.Seconds(30)), string.Join(", ", inherited));
        Assert.Empty(inherited);
    }

    private static List<string> InheritedBy(HashSet<string> before)
    {
        using Process child = Process.Start("/bin/sleep", "60");
        try
        {
            return [.. Sockets(child.Id.ToString(CultureInfo.InvariantCulture)).Values.Where(s => !before.Contains(s))];
        }
        finally
        {
            child.Kill();
            child.WaitForExit();
        }
    }

    private static Dictionary<string, string> Sockets(string process)
    {
        Dictionary<string, string> found = [];
        foreach (string descriptor in Directory.GetFiles($"/proc/{process}/fd"))
        {
            if (LinkOf(descriptor) is { } name && name.StartsWith("socket:", StringComparison.Ordinal))
                found[Path.GetFileName(descriptor)] = name;
        }
        return found;
    }

    private static string? LinkOf(string path)
    {
        try
        {
            return new FileInfo(path).LinkTarget;
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static bool IsInheritable(string descriptor)
    {
        try
        {
            string flags = File.ReadAllLines($"/proc/self/fdinfo/{descriptor}").Single(l => l.StartsWith("flags:", StringComparison.Ordinal));
            return (Convert.ToInt32(flags[6..].Trim(), 8) & CloseOnExec) == 0;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
