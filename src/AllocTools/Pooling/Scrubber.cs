using System.Runtime.InteropServices;

namespace AllocTools.Pooling;

/// <summary>Overwrites returned blocks if an option asks for it.</summary>
internal sealed class Scrubber(RmaMemoryPoolOptions options)
{
    private const byte Poison = 0xDD;

    private readonly byte? _value = options.ClearOnReturn ? (byte)0 : options.PoisonOnReturn ? Poison : null;

    public bool IsOn => _value is not null;

    public unsafe void Scrub(Slab slab, int index)
    {
        if (_value is byte value)
            NativeMemory.Fill((void*)slab.AddressOf(index), (nuint)slab.BlockSize, value);
    }
}
