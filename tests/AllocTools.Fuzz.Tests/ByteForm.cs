using System.Buffers.Binary;
using System.Text;
using AllocTools.Endpoints.Addressing;

namespace AllocTools.Fuzz.Tests;

/// <summary>A form in which bytes arrive from outside the process.</summary>
public abstract class ByteForm : IDisposable
{
    /// <summary>Gets the name of the form, which is also that of its folder in the corpus.</summary>
    public abstract string Name { get; }

    /// <summary>Gets valid values, in their binary form.</summary>
    public abstract Gen<byte[]> Valid { get; }

    /// <summary>Gets further inputs, some of which are valid; null for none.</summary>
    public virtual Gen<byte[]>? Others => null;

    /// <summary>Gets pieces that a change may insert, such as words of a text form.</summary>
    public virtual IReadOnlyList<byte[]> Words => [];

    /// <summary>Gets the maximum length of an input.</summary>
    public virtual int MostLength => 8 << 10;

    /// <summary>
    /// Gets the maximum length of an error in characters. An error must not repeat the input, which may contain keys,
    /// because it is logged.
    /// </summary>
    public virtual int MostWords => 500;

    /// <summary>Gets the number of inputs to try if no time is given.</summary>
    public virtual int Inputs => 20_000;

    /// <summary>Reads the bytes as the product does. Any exception other than the documented error must be rethrown.</summary>
    /// <returns>The error, as it is reported; null if the bytes were accepted, and the result matches them.</returns>
    public abstract string? Read(ReadOnlyMemory<byte> input);

    /// <summary>Corrects checksums, so that the code behind their check is tried, too.</summary>
    public virtual void Repair(byte[] input)
    {
    }

    /// <summary>
    /// Returns the maximum number of bytes that reading an input may allocate; null if reading uses other threads, or
    /// opens a whole connection.
    /// </summary>
    public virtual long? MostAllocated(int length) => (16 << 10) + (32L * length);

    /// <summary>Closes what the form has opened.</summary>
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

    /// <summary>Returns pieces of a text form.</summary>
    protected static IReadOnlyList<byte[]> Texts(Encoding encoding, params string[] texts) => [.. texts.Select(encoding.GetBytes)];

    /// <summary>Writes the CRC-32C of everything before the last 4 bytes into them.</summary>
    protected static void Seal(Span<byte> input)
    {
        if (input.Length >= sizeof(uint))
            BinaryPrimitives.WriteUInt32LittleEndian(input[^sizeof(uint)..], Crc32C.Of(input[..^sizeof(uint)]));
    }
}
