using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.TwoProcesses;

/// <summary>Tests on each transport between two processes.</summary>
/// <typeparam name="TTransport">The transport.</typeparam>
public abstract class TwoProcessConformance<TTransport>
    where TTransport : ITwoProcessTransport
{
    [SuppressMessage("Design", "CA1000", Justification = "xunit finds the rows of a theory by a static member.")]
    public static TheoryData<string> Fabrics => [.. TTransport.Fabrics];

    protected static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WritesAndReadsAtOddOffsetsMeetTheRightBytes(string fabric)
    {
        await using LocalSide side = await TTransport.StartAsync(fabric);
        await side.Process.AskAsync("rent 65536 1");
        await side.Process.AskAsync("rent 65536 2");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(1, 4099, 9001));
        using RmaBuffer buffer = side.Pool.Rent(9001);
        RandomNumberGenerator.Fill(buffer.Span);
        await side.Endpoint.WriteAsync(buffer.Slice(3, 5003), remote.Slice(1001, 5003), cancellationToken: Token);
        Assert.Equal(Convert.ToHexString(buffer.GetSpan(3, 5003)), await side.Process.AskAsync($"peek 1 {4099 + 1001} 5003"));
        Assert.Equal("02", await side.Process.AskAsync($"peek 1 {4099 + 1000} 1"));
        Assert.Equal("02", await side.Process.AskAsync($"peek 1 {4099 + 1001 + 5003} 1"));

        using RmaBuffer back = side.Pool.Rent(9001);
        await side.Endpoint.ReadAsync(back, remote, cancellationToken: Token);
        Assert.True(back.GetSpan(1001, 5003).SequenceEqual(buffer.GetSpan(3, 5003)));
        Assert.False(back.Span[..1001].ContainsAnyExcept((byte)2));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AWriteOfManyMegabytesArrivesWhole(string fabric)
    {
        await using LocalSide side = await TTransport.StartAsync(fabric);
        const int Length = (24 << 20) + 17;
        await side.Process.AskAsync($"rent {Length} 0");
        using RmaBuffer source = side.Pool.Rent(Length);
        RandomNumberGenerator.Fill(source.Span);
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, Length));
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        Assert.Equal(Convert.ToHexString(SHA256.HashData(source.Span)), await side.Process.AskAsync("hash 0"));
    }

    /// <summary>
    /// A NullReferenceException begins as SIGSEGV: a library that keeps its handler may end the process, or remove what
    /// peers find it by.
    /// </summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AProcessThatHasCaughtANullReferenceGoesOnAndIsFound(string fabric)
    {
        await using LocalSide side = await TTransport.StartAsync(fabric);
        await side.Process.AskAsync("rent 4096 5");
        using RmaBuffer target = side.Pool.Rent(4096);
        using RmaExposure exposure = target.Expose(0, 4096, RmaAccess.RemoteWrite);
        Assert.Equal("caught", await side.Process.AskAsync("fault"));
        AssertIsFound(fabric, side.Process);
        Assert.Equal("ok", await side.Process.AskAsync($"write 0 {Convert.ToBase64String(exposure.Remote.ToArray())}"));
        Assert.False(target.Span.ContainsAnyExcept((byte)5));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task BytesArriveAtATargetThatIsBusyElsewhere(string fabric)
    {
        await using LocalSide side = await TTransport.StartAsync(fabric);
        await side.Process.AskAsync("rent 65536 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 65536));
        using RmaBuffer source = side.Pool.Rent(65536);
        source.Span.Fill(9);
        await side.Process.TellAsync("busy 0 65535 9");
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        Assert.Equal("seen", await side.Process.AnswerAsync());
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AKilledPeerFailsEveryOperationInTimeAndItsBuffersComeBack(string fabric)
    {
        TimeSpan timeout = TestTime.Seconds(2);
        await using LocalSide side = await TTransport.StartAsync(fabric, timeout);
        await side.Process.AskAsync("rent 65536 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 65536));
        RmaBuffer source = side.Pool.Rent(65536);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await side.Process.KillAsync();

        await FailsInTimeAsync(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask());
        await Task.WhenAll(
            FailsInTimeAsync(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask()),
            FailsInTimeAsync(() => side.Endpoint.ReadAsync(source, remote, cancellationToken: Token).AsTask()),
            // A receive whose message is never sent times out, too.
            FailsInTimeAsync(() => side.Endpoint.ReceiveAsync(source, cancellationToken: Token).AsTask()));
        source.Dispose();
        await side.Endpoint.DisposeAsync();
        Assert.Equal(0, side.Pool.GetStatistics().QuarantinedBuffers);
        Assert.Equal(0, side.Pool.GetStatistics().RentedBuffers);

        async Task FailsInTimeAsync(Func<Task> operation)
        {
            var clock = Stopwatch.StartNew();
            RmaOperationException error = await Assert.ThrowsAnyAsync<RmaOperationException>(operation);
            Assert.True(error.ErrorCode > 0);
            Assert.True(clock.Elapsed < timeout + TestTime.Seconds(10), $"it took {clock.Elapsed}: {error.Message}");
        }
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task APeerThatIsKilledUnderManyWritesFailsThemAllInTime(string fabric)
    {
        TimeSpan timeout = TestTime.Seconds(2);
        await using LocalSide side = await TTransport.StartAsync(fabric, timeout);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        using (RmaBuffer first = side.Pool.Rent(1 << 20))
            await side.Endpoint.WriteAsync(first, remote, cancellationToken: Token);
        await side.Process.SuspendAsync();
        RmaBuffer[] sources = [.. Enumerable.Range(0, 64).Select(_ => side.Pool.Rent(1 << 20))];
        Task[] writes = [.. sources.Select(s => side.Endpoint.WriteAsync(s, remote, cancellationToken: Token).AsTask())];
        await side.Process.KillAsync();
        var clock = Stopwatch.StartNew();
        List<RmaOperationException> errors = [];
        foreach (Task write in writes)
        {
            if (await Record.ExceptionAsync(() => write) is { } error)
                errors.Add(Assert.IsAssignableFrom<RmaOperationException>(error));
        }
        Assert.True(clock.Elapsed < timeout + TestTime.Seconds(10), $"it took {clock.Elapsed}");
        AssertErrorsOfKilled(fabric, errors);
        // Each buffer may be returned now, quarantined or not.
        foreach (RmaBuffer source in sources)
            source.Dispose();
        Assert.Equal(0, side.Pool.GetStatistics().RentedBuffers);
        await side.Endpoint.DisposeAsync();
        Assert.Equal(0, side.Pool.GetStatistics().QuarantinedBuffers);
    }

    /// <summary>Asserts that the object by which peers find a process exists.</summary>
    protected virtual void AssertIsFound(string fabric, PeerProcess process)
    {
    }

    /// <summary>Asserts the errors of the writes that were under way when their peer was killed.</summary>
    protected virtual void AssertErrorsOfKilled(string fabric, IReadOnlyList<RmaOperationException> errors) => Assert.NotEmpty(errors);
}
