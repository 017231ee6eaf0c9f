using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace AllocTools.Libfabric;

/// <summary>
/// Gives all numbers of a given width in a pseudorandom order. Each occurs once, and an observer who has seen some can't predict the others.
/// </summary>
/// <remarks>
/// A Feistel network with SipHash under a random secret as its round function. Four rounds make a pseudorandom
/// permutation (Luby and Rackoff, 1988); narrow halves leave an observer more to work with, hence twice as many.
/// </remarks>
internal sealed class KeyPermutation
{
    private const int Rounds = 8;

    private readonly SipHash _hash;
    private readonly int _halfBits;
    private readonly uint _halfMask;

    /// <param name="size">The width, 1 to 8 bytes.</param>
    public KeyPermutation(int size)
    {
        Span<ulong> secret = stackalloc ulong[2];
        RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(secret));
        _hash = new SipHash(secret[0], secret[1]);
        _halfBits = size * 4;
        _halfMask = uint.MaxValue >> (32 - _halfBits);
    }

    /// <summary>Returns the number at a position of the order. It is safe to call from any thread.</summary>
    public ulong Permute(ulong number)
    {
        uint left = (uint)(number >> _halfBits) & _halfMask;
        uint right = (uint)number & _halfMask;
        for (int round = 0; round < Rounds; round++)
            (left, right) = (right, left ^ ((uint)_hash.Hash(((ulong)round << 32) | right) & _halfMask));
        return ((ulong)left << _halfBits) | right;
    }
}
