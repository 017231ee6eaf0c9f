using System.Diagnostics;
using System.Text;
using AllocTools.Endpoints;
using AllocTools.Interop;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests how peers on shm wake an endpoint's thread. Nothing here times out unless a ring is lost.</summary>
public sealed class DoorbellTests : IDisposable
{
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(1);

    private readonly string _path = $"/dev/shm/doorbell-test-{Guid.NewGuid():N}";
    private readonly SafeFileHandle _file;

    public DoorbellTests()
    {
        _file = File.OpenHandle(_path, FileMode.CreateNew, FileAccess.ReadWrite);
        RandomAccess.Write(_file, new byte[10_000], 0);
    }

    public void Dispose()
    {
        _file.Dispose();
        File.Delete(_path);
    }

    [Fact]
    public void AFileHasNoneUntilItIsAppended()
    {
        Assert.Null(Doorbell.Find(_file));
        Assert.NotNull(Doorbell.Append(_file));
        Assert.NotNull(Doorbell.Find(_file));
        byte[] before = new byte[10_000];
        Assert.Equal(before.Length, RandomAccess.Read(_file, before, 0));
        Assert.All(before, b => Assert.Equal(0, b));
    }

    [Fact]
    public void AnEmptyFileHasNone()
    {
        RandomAccess.SetLength(_file, 0);
        Assert.Null(Doorbell.Find(_file));
    }

    [Fact]
    public void ARingBetweenTheLastLookAndTheSleepEndsIt()
    {
        Doorbell own = Doorbell.Append(_file)!;
        Doorbell peers = Doorbell.Find(_file)!;
        own.BeginSleep();
        peers.Ring();
        Assert.True(own.Sleep(Longest));
    }

    [Fact]
    public void SleepEndsByItselfWithoutARing()
    {
        Doorbell own = Doorbell.Append(_file)!;
        own.BeginSleep();
        Assert.False(own.Sleep(TimeSpan.FromMilliseconds(1)));
    }

    [Fact]
    public void NoRingIsLostWhileTheOwnerFallsAsleepAgainAndAgain()
    {
        const int Posts = 20_000;
        Doorbell own = Doorbell.Append(_file)!;
        Doorbell peers = Doorbell.Find(_file)!;
        int posted = 0;
        int seen = 0;
        Thread poster = new(() =>
        {
            for (int i = 1; i <= Posts; i++)
            {
                Volatile.Write(ref posted, i);
                peers.Ring();
                // The next post falls into the owner's next sleep, or just before it.
                while (Volatile.Read(ref seen) != i)
                    Thread.SpinWait(1 + (i % 64));
            }
        })
        { IsBackground = true };
        poster.Start();
        while (seen < Posts)
        {
            own.BeginSleep();
            long start = Stopwatch.GetTimestamp();
            // A signal, or the previous ring, may end a sleep early.
            while (Volatile.Read(ref posted) == seen && !own.Sleep(Longest))
                Assert.True(Stopwatch.GetElapsedTime(start) < Longest, $"The ring for {seen + 1} is lost.");
            own.EndSleep();
            Volatile.Write(ref seen, Volatile.Read(ref posted));
        }
        poster.Join();
    }

    [Theory]
    [InlineData(RmaOperationKind.Write)]
    [InlineData(RmaOperationKind.Read)]
    [InlineData(RmaOperationKind.Send)]
    public async Task WhatIsPostedRingsAtThePeer(RmaOperationKind kind)
    {
        // In this test, only the peer's poll touches its word.
        await using EndpointPair pair = new("shm", o => o.Endpoint.Progress = RmaProgress.Caller);
        using RmaBuffer here = pair.Left.Pool.Rent(64);
        using RmaBuffer there = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = there.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        Doorbell bell = BellOf(pair.Right.Endpoint);
        bell.Listen();
        Assert.False(bell.HasRung);
        RmaOperation operation = kind switch
        {
            RmaOperationKind.Write => RmaOperation.Write(here, remote, 1),
            RmaOperationKind.Read => RmaOperation.Read(here, remote, 1),
            _ => RmaOperation.Send(here, pair.Left.Peer, 1),
        };
        while (!pair.Left.Endpoint.TryPost(operation))
            pair.Right.Endpoint.Poll([]);
        Assert.True(bell.HasRung);
    }

    [Fact]
    public async Task AThreadThatRestsCanBeWoken()
    {
        await using EndpointPair pair = new("shm");
        Doorbell bell = BellOf(pair.Right.Endpoint);
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Longest);
        while (!bell.IsAsleep)
            await Task.Delay(1, limit.Token);
        using RmaBuffer here = pair.Left.Pool.Rent(64);
        using RmaBuffer there = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = there.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        here.Span.Fill(7);
        await pair.Left.Endpoint.WriteAsync(here, remote, cancellationToken: limit.Token);
        Assert.False(there.Span.ContainsAnyExcept((byte)7));
    }

    private static Doorbell BellOf(IRmaEndpoint endpoint)
    {
        string address = Encoding.ASCII.GetString(endpoint.Address.Span);
        address = address[..address.IndexOf('\0')];
        using SafeFileHandle? file = FileLocks.OpenForWriting(Path.Combine("/dev/shm", address["fi_shm://".Length..]), out int error);
        Assert.True(file is not null, $"errno {error}");
        return Doorbell.Find(file) ?? throw new InvalidOperationException("The endpoint's file has no bell.");
    }
}
