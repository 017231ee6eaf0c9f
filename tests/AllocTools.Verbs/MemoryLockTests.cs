using System.Globalization;
using System.Runtime.Versioning;
using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Verbs;

/// <summary>
/// Tests an ordinary user whose RLIMIT_MEMLOCK is low: a start that fails gives the reason, and what has started
/// continues.
/// </summary>
[SupportedOSPlatform("linux")]
[Collection(Verbs.OneAtATime)]
public sealed partial class MemoryLockTests : IDisposable
{
    private const string Nobody = "65534";
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("alloctools-peer-");

    public MemoryLockTests()
    {
        // An ordinary user must be able to read it.
        _folder.UnixFileMode |= UnixFileMode.OtherRead | UnixFileMode.OtherExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute;
        foreach (string file in Directory.GetFiles(PeerProcess.BuiltFolder))
            File.Copy(file, Path.Combine(_folder.FullName, Path.GetFileName(file)));
    }

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task At64KiBAPoolCantStartAndSaysWhy()
    {
        await using PeerProcess peer = Start(64 << 10);
        string opened = await peer.AskAsync("open");
        string started = opened.StartsWith("ok", StringComparison.Ordinal) ? await peer.AskAsync($"pool {64 << 20}") : opened;
        AssertExplains(started, 64 << 10);
        Assert.Contains("pinned 0", await peer.AskAsync("close"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task At8MiBAPoolWithACapThatCantBeReachedSaysWhatItNeeds()
    {
        await using PeerProcess peer = Start(8 << 20);
        Assert.StartsWith("ok", await peer.AskAsync("open"), StringComparison.Ordinal);
        string refused = await peer.AskAsync($"pool {32 << 20}");
        AssertExplains(refused, 8 << 20);
        Assert.Contains("MaxRegisteredBytes is 32 MiB", refused, StringComparison.Ordinal);
        Assert.Contains("pins about 16 MiB in addition", refused, StringComparison.Ordinal);

        // Without an explicit cap, the pool grows as far as it can.
        Assert.StartsWith("ok", await peer.AskAsync("pool"), StringComparison.Ordinal);
        Assert.StartsWith("ok", await peer.AskAsync("rent 1048576"), StringComparison.Ordinal);
        string direct = await peer.AskAsync($"rent {32 << 20}");
        AssertExplains(direct, 8 << 20);
        Assert.Contains("32 MiB (33,554,432 bytes)", direct, StringComparison.Ordinal);
        string user = await peer.AskAsync($"user {16 << 20}");
        AssertExplains(user, 8 << 20);
        AssertBooksHold(user);
        Assert.StartsWith("ok", await peer.AskAsync("rent 1048576"), StringComparison.Ordinal);
        Assert.StartsWith("ok", await peer.AskAsync("return"), StringComparison.Ordinal);
        Assert.Contains("pinned 0", await peer.AskAsync("close"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task At64MiBGrowthAtTheLimitIsRefusedAndThePoolGoesOnServing()
    {
        await using PeerProcess peer = Start(64 << 20);
        Assert.StartsWith("ok", await peer.AskAsync("open"), StringComparison.Ordinal);
        Assert.StartsWith("ok", await peer.AskAsync("pool"), StringComparison.Ordinal);
        string answer;
        int rented = 0;
        while ((answer = await peer.AskAsync("rent 1048576")).StartsWith("ok", StringComparison.Ordinal))
        {
            rented++;
            AssertBooksHold(answer);
        }
        AssertExplains(answer, 64 << 20);
        AssertBooksHold(answer);
        Assert.InRange(rented, 56, 64);
        Assert.StartsWith("ok", await peer.AskAsync("return"), StringComparison.Ordinal);
        for (int i = 0; i < rented; i++)
            Assert.StartsWith("ok", await peer.AskAsync("rent 1048576"), StringComparison.Ordinal);
        Assert.StartsWith("ok", await peer.AskAsync("return"), StringComparison.Ordinal);
        Assert.Contains("pinned 0", await peer.AskAsync("close"), StringComparison.Ordinal);
    }

    // ofi_rxm pins its own buffers when it connects. A side whose limit is too low can't send, and the other side, which has
    // done nothing wrong, must not wait forever.
    [Fact]
    public async Task WhereAPeersOwnPinningFailsBothSidesTimeOut()
    {
        await using PeerProcess low = Start(8 << 20);
        await using PeerProcess other = Start(512 << 20);
        foreach (PeerProcess peer in new[] { low, other })
        {
            Assert.StartsWith("ok", await peer.AskAsync("open"), StringComparison.Ordinal);
            Assert.StartsWith("ok", await peer.AskAsync("pool"), StringComparison.Ordinal);
            Assert.StartsWith("ok", await peer.AskAsync("rent 4096"), StringComparison.Ordinal);
            Assert.StartsWith("ok", await peer.AskAsync("endpoint"), StringComparison.Ordinal);
        }
        string address = await other.AskAsync("address");
        Assert.StartsWith("ok", await low.AskAsync($"peer {address.Split(' ')[0]}"), StringComparison.Ordinal);
        address = await low.AskAsync("address");
        Assert.StartsWith("ok", await other.AskAsync($"peer {address.Split(' ')[0]}"), StringComparison.Ordinal);

        await other.TellAsync("receive");
        string sent = await low.AskAsync("send");
        Assert.Contains("Exception", sent, StringComparison.Ordinal);
        Assert.StartsWith("RmaTimeoutException FI_ETIMEDOUT", await other.AnswerAsync(), StringComparison.Ordinal);
        Assert.Contains("Exception", await other.AskAsync("send"), StringComparison.Ordinal);
        foreach (PeerProcess peer in new[] { low, other })
        {
            Assert.StartsWith("ok", await peer.AskAsync("return"), StringComparison.Ordinal);
            Assert.Contains("pinned 0", await peer.AskAsync("close"), StringComparison.Ordinal);
        }
    }

    private PeerProcess Start(long limit) => new(
        ["prlimit", string.Create(CultureInfo.InvariantCulture, $"--memlock={limit}:{limit}"), "setpriv", $"--reuid={Nobody}", $"--regid={Nobody}", "--clear-groups"],
        ["pinning", Verbs.Fabric],
        _folder.FullName);

    /// <summary>Asserts that a message contains the limit, its value, and each way to raise it.</summary>
    private static void AssertExplains(string message, long limit)
    {
        TestContext.Current.TestOutputHelper!.WriteLine(message);
        Assert.Matches(FormattableString.Invariant($@"RLIMIT_MEMLOCK is ([0-9]+ .iB \()?{limit:N0} bytes"), message);
        foreach (string part in new[] { "ulimit -l", "LimitMEMLOCK", "--ulimit memlock=-1", "Kubernetes" })
            Assert.Contains(part, message, StringComparison.Ordinal);
    }

    /// <summary>Asserts that without an endpoint, only the pool's memory is pinned.</summary>
    private static void AssertBooksHold(string answer)
    {
        Match statistics = Statistics().Match(answer);
        Assert.True(statistics.Success, answer);
        Assert.Equal(statistics.Groups["registered"].Value, statistics.Groups["pinned"].Value);
    }

    [GeneratedRegex(@"\| pinned (?<pinned>\d+) registered (?<registered>\d+)$")]
    private static partial Regex Statistics();
}
