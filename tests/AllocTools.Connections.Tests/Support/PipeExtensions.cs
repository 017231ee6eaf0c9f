using System.Buffers;
using System.IO.Pipelines;

namespace AllocTools.Connections.Tests.Support;

internal static class PipeExtensions
{
    /// <summary>Reads a number of bytes, or up to the end of the stream.</summary>
    public static async Task<byte[]> ReadBytesAsync(this PipeReader reader, int count)
    {
        ReadResult result = await reader.ReadAtLeastAsync(count, TestContext.Current.CancellationToken);
        ReadOnlySequence<byte> bytes = result.Buffer.Length > count ? result.Buffer.Slice(0, count) : result.Buffer;
        byte[] read = bytes.ToArray();
        reader.AdvanceTo(bytes.End);
        return read;
    }

    /// <summary>Reads the bytes that are available next.</summary>
    public static async Task<byte[]> ReadSomeAsync(this PipeReader reader)
    {
        ReadResult result = await reader.ReadAsync(TestContext.Current.CancellationToken);
        byte[] read = result.Buffer.ToArray();
        reader.AdvanceTo(result.Buffer.End);
        return read;
    }

    /// <summary>Reads up to the end of the stream.</summary>
    public static async Task<byte[]> ReadToEndAsync(this PipeReader reader)
    {
        var all = new MemoryStream();
        while (true)
        {
            ReadResult result = await reader.ReadAsync(TestContext.Current.CancellationToken);
            foreach (ReadOnlyMemory<byte> part in result.Buffer)
                all.Write(part.Span);
            reader.AdvanceTo(result.Buffer.End);
            if (result.IsCompleted)
                return all.ToArray();
        }
    }
}
