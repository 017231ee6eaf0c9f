using System.Buffers.Binary;
using System.Security.Cryptography;

namespace AllocTools.Libfabric;

/// <summary>
/// Numbers of a given width in an order of their own: each comes once, and who has seen some can't tell the others.
/// </summary>
/// <remarks>
/// A Feistel network with SHA-256 under a random secret as its round function. Four rounds make a pseudorandom
/// permutation (Luby and Rackoff 1988); narrow halves leave an observer more to work with, hence twice as many.
/// </remarks>
internal sealed class KeyPermutation
{
    private const int Rounds = 8;
    private const int SecretSize = 32;

    private readonly byte[] _secret = RandomNumberGenerator.GetBytes(SecretSize);
    private readonly int _halfBits;
    private readonly uint _halfMask;

    /// <param name="size">The width, 1 to 8 bytes.</param>
    public KeyPermutation(int size)
    {
        _halfBits = size * 4;
        _halfMask = uint.MaxValue >> (32 - _halfBits);
    }

    /// <summary>Where a number of the width stands in the order. Safe to call from any thread.</summary>
    public ulong Permute(ulong number)
    {
        Span<byte> input = stackalloc byte[SecretSize + 1 + sizeof(uint)];
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        _secret.CopyTo(input);
        uint left = (uint)(number >> _halfBits) & _halfMask;
        uint right = (uint)number & _halfMask;
        for (int round = 0; round < Rounds; round++)
        {
            input[SecretSize] = (byte)round;
            BinaryPrimitives.WriteUInt32LittleEndian(input[(SecretSize + 1)..], right);
            SHA256.HashData(input, hash);
            (left, right) = (right, left ^ (BinaryPrimitives.ReadUInt32LittleEndian(hash) & _halfMask));
        }
        return ((ulong)left << _halfBits) | right;
    }
}
