using System.Buffers.Binary;
using System.Text;
using AllocTools.Endpoints.Addressing;

namespace AllocTools.Fuzz.Tests;

/// <summary>A form in which bytes come from outside the process.</summary>
public abstract class ByteForm : IDisposable
{
    /// <summary>The name of the form, which is also that of its folder in the corpus.</summary>
    public abstract string Name { get; }

    /// <summary>Valid values, in their binary form.</summary>
    public abstract Gen<byte[]> Valid { get; }

    /// <summary>Further inputs, of which some are valid; null for none.</summary>
    public virtual Gen<byte[]>? Others => null;

    /// <summary>Pieces that a change may insert, such as words of a text form.</summary>
    public virtual IReadOnlyList<byte[]> Words => [];

    /// <summary>The longest input that is tried.</summary>
    public virtual int MostLength => 8 << 10;

    /// <summary>The longest error, in characters. It must not repeat the input, which may have keys in it, and goes into logs.</summary>
    public virtual int MostWords => 500;

    /// <summary>How many inputs are tried where no time is given.</summary>
    public virtual int Inputs => 20_000;

    /// <summary>Reads the bytes as the product does. Everything but the documented error must be thrown on.</summary>
    /// <returns>The error, in the words in which it is reported; null if they were accepted, and what was read is what they say.</returns>
    public abstract string? Read(ReadOnlyMemory<byte> input);

    /// <summary>Makes checksums right again, so that what is behind them is tried, too.</summary>
    public virtual void Repair(byte[] input)
    {
    }

    /// <summary>The most bytes that reading an input of that length may allocate; null where reading takes other threads, or brings up a whole connection.</summary>
    public virtual long? MostAllocated(int length) => (16 << 10) + (32L * length);

    /// <summary>Ends what the form has opened.</summary>
    public void Dispose()
    {
        Close();
        GC.SuppressFinalize(this);
    }

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <inheritdoc cref="Dispose()"/>
    protected virtual void Close()
    {
    }

    /// <summary>Pieces of a text form.</summary>
    protected static IReadOnlyList<byte[]> Texts(Encoding encoding, params string[] texts) => [.. texts.Select(encoding.GetBytes)];

    /// <summary>Writes the CRC-32C of everything before the last 4 bytes there.</summary>
    protected static void Seal(Span<byte> input)
    {
        if (input.Length >= sizeof(uint))
            BinaryPrimitives.WriteUInt32LittleEndian(input[^sizeof(uint)..], Crc32C.Of(input[..^sizeof(uint)]));
    }
}
