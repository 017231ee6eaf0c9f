using System.Buffers;
using System.Text.Json;
using AllocTools.Collections;
using AllocTools.Testing;
using CsCheck;
using Xunit;

namespace AllocTools.Tests.Collections;

public sealed class RmaStreamTests : IAsyncDisposable
{
    private readonly TestPool _test = new(o => o.PoisonOnReturn = true);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _test.DisposeAsync();

    /// <summary>Each step is done to both streams in the same way.</summary>
    [Fact]
    public void ItDoesWhatAMemoryStreamDoes()
    {
        Gen<Func<Stream, object>> step = Gen.OneOf(
            Gen.Byte.Array[0, 50].Select(bytes => (Func<Stream, object>)(s =>
            {
                s.Write(bytes);
                return s.Length;
            })),
            Gen.Byte.Array[0, 50].Select(bytes => (Func<Stream, object>)(s =>
            {
                s.WriteAsync(bytes, 0, bytes.Length).GetAwaiter().GetResult();
                return s.Position;
            })),
            Gen.Byte.Select(value => (Func<Stream, object>)(s =>
            {
                s.WriteByte(value);
                return s.Position;
            })),
            Gen.Int[0, 60].Select(count => (Func<Stream, object>)(s =>
            {
                byte[] read = new byte[count + 2];
                int done = s.Read(read, 1, count);
                return (done, Convert.ToHexString(read), s.Position);
            })),
            Gen.Int[0, 60].Select(count => (Func<Stream, object>)(s =>
            {
                byte[] read = new byte[count];
                return (s.ReadAsync(read).AsTask().GetAwaiter().GetResult(), Convert.ToHexString(read));
            })),
            Gen.Const((Func<Stream, object>)(s => (s.ReadByte(), s.Position))),
            Gen.Int[0, 150].Select(at => (Func<Stream, object>)(s => s.Position = at)),
            Gen.Int[0, 150].Select(length => (Func<Stream, object>)(s =>
            {
                s.SetLength(length);
                return s.Position;
            })),
            Gen.Int[-50, 50].Select(Gen.Int[0, 2], (by, from) => (Func<Stream, object>)(s => SeekOrFail(s, by, (SeekOrigin)from))),
            Gen.Bool.Select(isAsync => (Func<Stream, object>)(s => Copy(s, isAsync))));
        step.Array[0, 40].Select(Gen.Int[1, 40]).Sample((steps, blockLength) =>
        {
            using MemoryStream expected = new();
            using RmaStream stream = new(_test.Pool, blockLength);
            foreach (Func<Stream, object> one in steps)
            {
                Assert.Equal(one(expected), one(stream));
                Assert.Equal(expected.Length, stream.Length);
                Assert.Equal(expected.ToArray(), stream.GetReadOnlySequence().ToArray());
            }
        }, iter: 400, threads: 1);
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task JsonGoesInAndComesOut()
    {
        Dictionary<string, double[]> values = Enumerable.Range(0, 100).ToDictionary(i => $"key {i}", i => Enumerable.Range(0, i).Select(n => n / 3.0).ToArray());
        await using RmaStream stream = new(_test.Pool, 512);
        await JsonSerializer.SerializeAsync(stream, values, cancellationToken: Token);
        Assert.Equal(JsonSerializer.SerializeToUtf8Bytes(values), stream.GetReadOnlySequence().ToArray());
        stream.Position = 0;
        Assert.Equal(values, await JsonSerializer.DeserializeAsync<Dictionary<string, double[]>>(stream, cancellationToken: Token));
    }

    [Fact]
    public async Task AWriteWaitsWhereTheCapLeavesNoRoomAndElseWritesNothing()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 8192;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        });
        RmaBuffer other = test.Pool.Rent(4096);
        await using (RmaStream stream = new(test.Pool, 4096))
        {
            stream.Write(new byte[100]);
            Assert.Throws<RmaPoolExhaustedException>(() => stream.Write(new byte[5000]));
            Assert.Equal((100, 100), (stream.Length, stream.Position));
            Assert.Throws<RmaPoolExhaustedException>(() => stream.SetLength(5000));
            Assert.Equal(100, stream.Length);
            using CancellationTokenSource cancel = new();
            Task cancelled = stream.WriteAsync(new byte[5000], cancel.Token).AsTask();
            await cancel.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
            Task writing = stream.WriteAsync(new byte[5000], Token).AsTask();
            Assert.False(writing.IsCompleted);
            other.Dispose();
            await writing;
            Assert.Equal((5100, 8192), (stream.Length, stream.Capacity));
        }
        Assert.Equal(0, test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task AStreamThatIsClosedWhileAWriteWaitsKeepsNothing()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 4096;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        });
        RmaBuffer other = test.Pool.Rent(4096);
        RmaStream stream = new(test.Pool, 4096);
        Task writing = stream.WriteAsync(new byte[1], Token).AsTask();
        await stream.DisposeAsync();
        other.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => writing);
        Assert.Equal(0, test.Statistics.RentedBuffers);
    }

    [Fact]
    public void AStreamThatIsUsedAgainAllocatesNothing()
    {
        using RmaStream stream = new(_test.Pool, 256);
        byte[] bytes = new byte[2000];
        stream.Write(bytes);
        ThreadAllocations allocations = new();
        for (int round = 0; round < 50; round++)
        {
            allocations.Begin();
            stream.SetLength(0);
            stream.Write(bytes);
            stream.Position = 0;
            stream.ReadExactly(bytes);
            allocations.End();
        }
        allocations.AssertNone();
        Assert.Equal(2048, stream.Capacity);
    }

    [Fact]
    public async Task EachBlockComesBackAndAUseAfterTheEndThrows()
    {
        RmaStream stream = new(_test.Pool, 16);
        stream.Write(new byte[100]);
        MemoryHandle pin = stream.GetReadOnlySequence().First.Pin();
        Assert.Throws<InvalidOperationException>(stream.Dispose);
        Assert.Equal(1, _test.Statistics.RentedBuffers);
        pin.Dispose();
        await stream.DisposeAsync();
        await stream.DisposeAsync();
        Assert.Equal(0, _test.Statistics.RentedBuffers);
        Assert.False(stream.CanRead || stream.CanWrite || stream.CanSeek);
        Assert.Throws<ObjectDisposedException>(() => stream.Length);
        Assert.Throws<ObjectDisposedException>(() => stream.Position);
        Assert.Throws<ObjectDisposedException>(() => stream.ReadByte());
        Assert.Throws<ObjectDisposedException>(() => stream.WriteByte(1));
        Assert.Throws<ObjectDisposedException>(() => stream.SetLength(1));
        Assert.Throws<ObjectDisposedException>(() => stream.GetReadOnlySequence());
        Assert.Throws<ObjectDisposedException>(() => stream.CopyTo(Stream.Null));
        Assert.Throws<ArgumentOutOfRangeException>("blockLength", () => new RmaStream(_test.Pool, 0));
        Assert.Throws<ArgumentNullException>("pool", () => new RmaStream(null!));
    }

    [Fact]
    public void WhatIsTooFarIsSaid()
    {
        using RmaStream stream = new(_test.Pool, 2);
        stream.Position = long.MaxValue;
        Assert.Equal(-1, stream.ReadByte());
        Assert.Throws<IOException>(() => stream.WriteByte(1));
        Assert.Throws<IOException>(() => stream.Seek(1, SeekOrigin.Current));
        Assert.Throws<IOException>(() => stream.Seek(-1, SeekOrigin.Begin));
        Assert.Throws<ArgumentOutOfRangeException>("origin", () => stream.Seek(0, (SeekOrigin)3));
        Assert.Throws<ArgumentOutOfRangeException>("value", () => stream.SetLength(long.MaxValue));
        Assert.Throws<ArgumentOutOfRangeException>("value", () => stream.SetLength(-1));
        Assert.Throws<ArgumentOutOfRangeException>("value", () => stream.Position = -1);
        Assert.Equal(0, stream.Length);
    }

    private static object SeekOrFail(Stream stream, int by, SeekOrigin from)
    {
        try
        {
            return stream.Seek(by, from);
        }
        catch (IOException)
        {
            return "before the start";
        }
    }

    private static object Copy(Stream stream, bool isAsync)
    {
        using MemoryStream target = new();
        if (isAsync)
            stream.CopyToAsync(target).GetAwaiter().GetResult();
        else
            stream.CopyTo(target);
        return (Convert.ToHexString(target.ToArray()), stream.Position);
    }
}
