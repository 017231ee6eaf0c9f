using System.Numerics.Tensors;
using AllocTools.Collections;
using Xunit;

namespace AllocTools.Tests.Collections;

/// <summary>Tests that System.Numerics.Tensors works on registered memory as it is: the core needs nothing for that.</summary>
public sealed class TensorTests : IAsyncDisposable
{
    private readonly TestPool _test = new();

    public ValueTask DisposeAsync() => _test.DisposeAsync();

    [Fact]
    public void TensorsWorkOnAnArrayInPlace()
    {
        using RmaArray<float> array = _test.Pool.RentArray<float>(6);
        for (int i = 0; i < 6; i++)
            array[i] = i;
        TensorSpan<float> matrix = new(array.Span, [2, 3]);
        Assert.Equal(5, matrix[1, 2]);
        matrix[1, 0] = -3;
        Assert.Equal(-3, array[3]);
        TensorPrimitives.Multiply(array.Span, 2, array.Span);
        Assert.Equal([0, 2, 4, -6, 8, 10], array.Span);
        Assert.Equal(18, TensorPrimitives.Sum<float>(array.Span));
        Assert.Equal(-6, matrix[1, 0]);
    }
}
