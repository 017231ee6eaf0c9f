using System.Diagnostics;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Lies;

/// <summary>
/// A target that has exposed 16 KiB in the middle of a buffer, and a liar that was given descriptions of several
/// exposures.
/// </summary>
/// <remarks>
/// A lie bypasses the checks of this library's initiator (tests/Shared/Lies/Forged.cs), so it tests only the transport
/// and the target's side.
/// </remarks>
internal sealed class LyingScene : IAsyncDisposable
{
    private const RmaAccess Both = RmaAccess.RemoteRead | RmaAccess.RemoteWrite;

    private readonly LyingPair _pair;
    private string _whole = "";

    private LyingScene(LyingPair pair) => _pair = pair;

    /// <summary>Gets the memory that the liar may read and write.</summary>
    public RemoteMemory Given { get; private init; }

    public RemoteMemory ForReading { get; private init; }

    public RemoteMemory ForWriting { get; private init; }

    public RemoteMemory Ended { get; private init; }

    public RemoteMemory OfReturned { get; private init; }

    /// <summary>
    /// Gets an exposure of the target's process before its restart, at the same address if the transport allows reusing
    /// it.
    /// </summary>
    public RemoteMemory BeforeRestart { get; private init; }

    /// <summary>Tells lies, and starts a new pair if one has ended the target.</summary>
    /// <param name="start">Starts a pair.</param>
    /// <param name="lies">The lies.</param>
    /// <returns>The outcome of each lie, by its name.</returns>
    public static async Task<IReadOnlyDictionary<string, LieEnd>> TellAsync(Func<Task<LyingPair>> start, IEnumerable<Lie> lies)
    {
        RemoteMemory beforeRestart;
        await using (LyingPair before = await start())
        {
            LyingPair.Expect("0", await before.AskTargetAsync($"rent {LyingPair.BufferLength} {LyingPair.Secret}"));
            beforeRestart = await before.ExposeAsync(0, Both);
        }
        var ends = new Dictionary<string, LieEnd>();
        LyingScene? scene = null;
        try
        {
            foreach (Lie lie in lies)
            {
                // The previous lie may have cost the connection, but this one must arrive.
                if (scene is not null && !await scene.CanReachAsync())
                {
                    await scene.DisposeAsync();
                    scene = null;
                }
                scene ??= await SetUpAsync(await start(), beforeRestart);
                (LieEnd end, string answer) = await scene.TellAsync(lie);
                ends.Add(lie.Name, end);
                TestContext.Current.TestOutputHelper!.WriteLine($"{end}: {lie.Name} ({answer})");
                if (end != LieEnd.TargetEnded)
                    continue;
                await scene.DisposeAsync();
                scene = null;
            }
        }
        finally
        {
            if (scene is not null)
                await scene.DisposeAsync();
        }
        return ends;
    }

    /// <summary>
    /// Replays what a target handed out before it was restarted, with its old address and with its new one.
    /// </summary>
    /// <param name="start">Starts a pair, at the same address if the transport allows it.</param>
    public static async Task AssertRestartEndsWhatWasGivenAsync(Func<Task<LyingPair>> start)
    {
        string oldAddress;
        RemoteMemory old;
        await using (LyingPair before = await start())
        {
            await before.ConnectAsync();
            LyingPair.Expect("0", await before.AskTargetAsync($"rent {LyingPair.BufferLength} {LyingPair.Secret}"));
            old = await before.ExposeAsync(0, Both);
            oldAddress = await before.AddressAsync();
            Assert.Equal("ok True", await before.AskLiarAsync(Line(isWrite: false, new Claim(old, old.Address, old.Length, old.Key), before.Patience)));
        }
        await using LyingPair pair = await start();
        await pair.ConnectAsync();
        LyingPair.Expect("0", await pair.AskTargetAsync($"rent {LyingPair.BufferLength} {LyingPair.Secret}"));
        string hash = await pair.AskTargetAsync("hash 0");
        string description = Convert.ToBase64String(old.ToArray());
        Assert.Contains("to the same peer after a restart", await pair.AskLiarAsync($"import {description}"), StringComparison.Ordinal);
        // With the old address, nothing looks wrong on this side; the address leads nowhere, or to a process that has
        // other keys.
        Assert.Equal("ok", await pair.AskLiarAsync("remove"));
        if (await pair.AskLiarAsync($"peer {oldAddress}") == "ok")
        {
            var claim = new Claim(old, old.Address, old.Length, old.Key);
            Assert.EndsWith(" False", await pair.AskLiarAsync(Line(isWrite: false, claim, TestTime.Seconds(2))), StringComparison.Ordinal);
            Assert.EndsWith(" False", await pair.AskLiarAsync(Line(isWrite: true, claim, TestTime.Seconds(2))), StringComparison.Ordinal);
        }
        Assert.Equal(hash, await pair.AskTargetAsync("hash 0"));
    }

    public ValueTask DisposeAsync() => _pair.DisposeAsync();

    private static async Task<LyingScene> SetUpAsync(LyingPair pair, RemoteMemory beforeRestart)
    {
        await pair.ConnectAsync();
        for (int i = 0; i < 2; i++)
            LyingPair.Expect($"{i}", await pair.AskTargetAsync($"rent {LyingPair.BufferLength} {LyingPair.Secret}"));
        RemoteMemory ended = await pair.ExposeAsync(0, Both);
        await pair.EndExposureAsync();
        RemoteMemory ofReturned = await pair.ExposeAsync(1, Both);
        await pair.EndExposureAsync();
        LyingPair.Expect("ok", await pair.AskTargetAsync($"again 1 {LyingPair.Secret}"));
        var scene = new LyingScene(pair)
        {
            Ended = ended,
            OfReturned = ofReturned,
            BeforeRestart = beforeRestart,
            Given = await pair.ExposeAsync(0, Both),
            ForReading = await pair.ExposeAsync(0, RmaAccess.RemoteRead),
            ForWriting = await pair.ExposeAsync(0, RmaAccess.RemoteWrite),
        };
        scene._whole = await scene.HashAsync();
        Assert.True(await scene.CanReachAsync());
        return scene;
    }

    private async Task<(LieEnd End, string Answer)> TellAsync(Lie lie)
    {
        string answer = await AskAsync(() => _pair.AskLiarAsync(Line(lie.IsWrite, lie.Tell(this), _pair.Patience))) ?? "the liar has ended";
        if (await AskAsync(HashAsync) is not { } after)
            return (LieEnd.TargetEnded, answer);
        Assert.NotEqual("the liar has ended", answer);
        bool isChanged = after != _whole;
        if (isChanged)
        {
            for (int i = 0; i < 2; i++)
                LyingPair.Expect("ok", await _pair.AskTargetAsync($"fill {i} {LyingPair.Secret}"));
            Assert.Equal(_whole, await HashAsync());
        }
        return (isChanged || answer.EndsWith(" True", StringComparison.Ordinal) ? LieEnd.Believed : LieEnd.Nothing, answer);
    }

    /// <summary>Has the liar do what it has a right to, until that works.</summary>
    /// <returns>False if operations between the two time out, so that only a new pair can go on.</returns>
    private async Task<bool> CanReachAsync()
    {
        long start = Stopwatch.GetTimestamp();
        string read = Line(isWrite: false, new Claim(Given, Given.Address, Given.Length, Given.Key), _pair.Patience);
        string answer;
        while ((answer = await _pair.AskLiarAsync(read)) != "ok True")
        {
            if (answer.Contains("TIMEDOUT", StringComparison.Ordinal))
                return false;
            Assert.True(Stopwatch.GetElapsedTime(start) < TestTime.Seconds(20), $"The target can't be reached again: {answer}");
            await _pair.AskLiarAsync("remove");
            LyingPair.Expect("ok", await _pair.AskLiarAsync($"peer {await _pair.AddressAsync()}"));
        }
        return true;
    }

    private static string Line(bool isWrite, in Claim claim, TimeSpan patience) =>
        FormattableString.Invariant($"claim {(isWrite ? "write" : "read")} {claim.Address} {claim.Length} {claim.Key} {patience.TotalMilliseconds} {LyingPair.Secret} {Convert.ToBase64String(claim.Of.ToArray())}");

    private async Task<string> HashAsync() => await _pair.AskTargetAsync("hash 0") + await _pair.AskTargetAsync("hash 1");

    /// <returns>The answer, or null if the process has ended.</returns>
    private static async Task<string?> AskAsync(Func<Task<string>> ask)
    {
        try
        {
            return await ask();
        }
        catch (Exception e) when (e is IOException || (e is InvalidOperationException && e.Message.EndsWith("has ended.", StringComparison.Ordinal)))
        {
            return null;
        }
    }
}
