using System.Buffers;
using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using AllocTools.Cells;
using AllocTools.Endpoints;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>A <see cref="RemoteMemory"/> in its binary form.</summary>
internal sealed class RemoteMemoryForm : ByteForm
{
    public override string Name => "remote-memory";

    public override Gen<byte[]> Valid => Values.Memory.Select(static memory => memory.ToArray());

    public override int Inputs => 200_000;

    public override void Repair(byte[] input) => Seal(input);

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        if (RemoteMemory.TryRead(input.Span, out RemoteMemory memory, out int consumed, out string? error))
        {
            Assert.True(memory.ToArray().AsSpan().SequenceEqual(input.Span[..consumed]));
            Assert.Equal(memory, RemoteMemory.Read(input.Span));
            return null;
        }
        Assert.Equal(default, memory);
        Assert.Equal(error, Assert.Throws<FormatException>(() => RemoteMemory.Read(input.Span)).Message);
        return error;
    }
}

/// <summary>
/// A <see cref="RemoteMemory"/> as text. An input is UTF-16, so that each character is tried, including invalid pairs
/// of surrogates.
/// </summary>
internal sealed class RemoteMemoryTextForm : ByteForm
{
    public override string Name => "remote-memory-text";

    public override Gen<byte[]> Valid => Values.Memory.Select(static memory => Encoding.Unicode.GetBytes(memory.Format()));

    public override IReadOnlyList<byte[]> Words { get; } = Texts(Encoding.Unicode, "=", "==", " ", "\n", "-", "_", "+", "/", "\0", "\u00e9");

    public override void Repair(byte[] input) => SealText(MemoryMarshal.Cast<byte, char>(input.AsSpan(input.Length % 2)));

    /// <summary>Corrects the checksum in a text, if all of it is base64url.</summary>
    public static void SealText(Span<char> text)
    {
        byte[] bytes = new byte[Base64Url.GetMaxDecodedLength(text.Length)];
        if (Base64Url.DecodeFromChars(text, bytes, out _, out int length) != OperationStatus.Done)
            return;
        Seal(bytes.AsSpan(0, length));
        Base64Url.TryEncodeToChars(bytes.AsSpan(0, length), text, out _);
    }

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        // Characters must be aligned.
        ReadOnlySpan<char> text = MemoryMarshal.Cast<byte, char>(input.Span[(input.Length % 2)..]);
        if (RemoteMemory.TryParse(text, null, out RemoteMemory memory))
        {
            Assert.Equal(memory, RemoteMemory.Parse(memory.Format()));
            return null;
        }
        string copy = text.ToString();
        return Assert.Throws<FormatException>(() => RemoteMemory.Parse(copy)).Message;
    }
}

/// <summary>A <see cref="RemoteMemory"/> in JSON.</summary>
internal sealed class RemoteMemoryJsonForm : ByteForm
{
    public override string Name => "remote-memory-json";

    public override Gen<byte[]> Valid => Values.Memory.Select(static memory => JsonSerializer.SerializeToUtf8Bytes(memory));

    public override IReadOnlyList<byte[]> Words { get; } = [.. Texts(Encoding.ASCII, "null", "{}", "[]", "1e999", "\"", "\\u0041", "\\ud800", "\\", "//", "true"), [0xC0, 0x80]];

    public override void Repair(byte[] input)
    {
        int start = Array.IndexOf(input, (byte)'"') + 1;
        int length = Array.LastIndexOf(input, (byte)'"') - start;
        if (length <= 0)
            return;
        char[] text = Encoding.Latin1.GetChars(input, start, length);
        RemoteMemoryTextForm.SealText(text);
        Encoding.Latin1.GetBytes(text, input.AsSpan(start));
    }

    // The serializer caches what it learns about types with the first input.
    public override long? MostAllocated(int length) => (128 << 10) + (32L * length);

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        try
        {
            RemoteMemory memory = JsonSerializer.Deserialize<RemoteMemory>(input.Span);
            Assert.Equal(memory, JsonSerializer.Deserialize<RemoteMemory>(JsonSerializer.SerializeToUtf8Bytes(memory)));
            return null;
        }
        catch (JsonException)
        {
            // The serializer's own message is not used.
            return "It is not the JSON of memory.";
        }
    }
}

/// <summary>The bytes that a reader of a cell receives.</summary>
internal sealed class CellForm : ByteForm
{
    private const int ValueLength = 40;

    public override string Name => "cell";

    public override Gen<byte[]> Valid => Gen.Select(Gen.Byte.Array[ValueLength], Gen.ULong, static (value, sequence) =>
    {
        byte[] image = new byte[CellImage.SizeOf(ValueLength)];
        BitConverter.TryWriteBytes(image, CellImage.Header(ValueLength));
        BitConverter.TryWriteBytes(image.AsSpan(CellImage.SequenceOffset), sequence & ~1UL);
        BitConverter.TryWriteBytes(image.AsSpan(CellImage.CheckOffset), CellImage.Check(value, sequence & ~1UL));
        value.CopyTo(image, CellImage.ValueOffset);
        return image;
    });

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        // A read returns as many bytes as the cell has, or none.
        if (input.Length != CellImage.SizeOf(ValueLength))
            return "The length is wrong.";
        ulong header = CellImage.HeaderOf(input.Span);
        if (header == CellImage.Header(ValueLength))
            return CellImage.IsWhole(input.Span, ValueLength) ? null : CellImage.IsBeingWritten(CellImage.SequenceOf(input.Span)) ? "It is being written." : "It is not whole.";
        return CellImage.Describe(header, ValueLength);
    }
}
