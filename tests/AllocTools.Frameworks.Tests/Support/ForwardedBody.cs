using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Net;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Frameworks.Tests.Support;

/// <summary>
/// Memory of another application, into which a server writes the bodies that it receives, and the content of these
/// bodies.
/// </summary>
internal sealed class ForwardedBody : IDisposable
{
    private const int Chunk = 1 << 20;

    private readonly IRmaEndpoint _endpoint;
    private readonly RmaBuffer _memory;
    private readonly RmaExposure _exposure;

    public ForwardedBody(ClientSide far, long length)
    {
        _endpoint = far.Services.GetRequiredService<IRmaEndpoint>();
        _memory = far.Services.GetRequiredService<IRmaMemoryPool>().Rent(length);
        _memory.Span.Clear();
        _exposure = _memory.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
    }

    public long Length => _memory.Length;

    /// <summary>
    /// Answers with the number of bytes that were written from where the server has received them, and of segments that
    /// were not registered memory.
    /// </summary>
    public void MapTo(WebApplication app) => app.MapPost("/", async context =>
    {
        var endpoint = app.Services.GetRequiredService<IRmaEndpoint>();
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(_endpoint.Address.Span), _exposure.Remote);
        RmaBatch batch = endpoint.CreateBatch();
        long written = 0, received = 0;
        int others = 0;
        while (true)
        {
            ReadResult read = await context.Request.BodyReader.ReadAsync(context.RequestAborted);
            batch.Clear();
            if (batch.TryWrite(read.Buffer, remote.Slice(received)))
            {
                await batch.RunAsync(cancellationToken: context.RequestAborted);
                written += read.Buffer.Length;
            }
            else
            {
                others++;
            }
            received += read.Buffer.Length;
            context.Request.BodyReader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
                break;
        }
        await context.Response.WriteAsync($"{received} {written} {others}");
    });

    /// <summary>Answers with the content of the memory, read by RMA into the place from which the server sends it.</summary>
    public void MapBackTo(WebApplication app) => app.MapGet("/", async context =>
    {
        var endpoint = app.Services.GetRequiredService<IRmaEndpoint>();
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(_endpoint.Address.Span), _exposure.Remote);
        PipeWriter body = context.Response.BodyWriter;
        for (long done = 0; done < Length;)
        {
            if (!RmaSlice.TryGet(body.GetMemory(8 << 10), out RmaSlice room))
                throw new InvalidOperationException($"What the server sends from is not registered memory, after {done} bytes.");
            room = room.Slice(0, Math.Min(room.Length, Length - done));
            await endpoint.ReadAsync(room, remote.Slice(done, room.Length), cancellationToken: context.RequestAborted);
            body.Advance((int)room.Length);
            done += room.Length;
            await body.FlushAsync(context.RequestAborted);
        }
    });

    /// <summary>Creates the body, whose words all differ; with its length sent in advance, or in chunks.</summary>
    public HttpContent NewContent(bool isChunked = false) => new Content(Length, isChunked);

    /// <summary>Fills the memory with the body.</summary>
    public void Fill()
    {
        for (long offset = 0; offset < Length; offset += Chunk)
            FillWords(_memory.GetSpan(offset, Math.Min(Chunk, Length - offset)), offset);
    }

    /// <summary>Asserts that each byte has arrived.</summary>
    public void AssertArrived()
    {
        byte[] expected = new byte[Chunk];
        for (long offset = 0; offset < Length; offset += Chunk)
        {
            Span<byte> part = expected.AsSpan(0, (int)Math.Min(Chunk, Length - offset));
            FillWords(part, offset);
            Assert.True(_memory.GetSpan(offset, part.Length).SequenceEqual(part), $"Other bytes arrived between {offset} and {offset + part.Length}.");
        }
        _memory.Span.Clear();
    }

    /// <summary>Asserts that a response contains each byte.</summary>
    public async Task AssertIsAsync(Stream body)
    {
        byte[] expected = new byte[Chunk], actual = new byte[Chunk];
        for (long offset = 0; offset < Length; offset += Chunk)
        {
            int length = (int)Math.Min(Chunk, Length - offset);
            FillWords(expected.AsSpan(0, length), offset);
            await body.ReadExactlyAsync(actual.AsMemory(0, length), TestContext.Current.CancellationToken);
            Assert.True(actual.AsSpan(0, length).SequenceEqual(expected.AsSpan(0, length)), $"Other bytes arrived between {offset} and {offset + length}.");
        }
        Assert.Equal(0, await body.ReadAsync(actual, TestContext.Current.CancellationToken));
    }

    public void Dispose()
    {
        _exposure.Dispose();
        _memory.Dispose();
    }

    /// <summary>Fills memory with words that are a function of their position, without repeating a value.</summary>
    private static void FillWords(Span<byte> bytes, long offset)
    {
        for (int i = 0; i < bytes.Length; i += sizeof(ulong))
            BinaryPrimitives.WriteUInt64LittleEndian(bytes[i..], (ulong)(offset + i + 1) * 0x9E3779B97F4A7C15);
    }

    private sealed class Content(long length, bool isChunked) : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            byte[] chunk = new byte[Chunk];
            for (long offset = 0; offset < length; offset += Chunk)
            {
                int part = (int)Math.Min(Chunk, length - offset);
                FillWords(chunk.AsSpan(0, part), offset);
                await stream.WriteAsync(chunk.AsMemory(0, part));
            }
        }

        protected override bool TryComputeLength(out long computed)
        {
            computed = length;
            return !isChunked;
        }
    }
}
