namespace AllocTools.Tests.Model.Concurrent;

/// <summary>What a <see cref="FullPool"/> comes to if one does one thing after the other.</summary>
internal sealed record FullPoolCounts
{
    public int Free { get; set; }

    public long Rents { get; set; }

    public long Rejections { get; set; }

    public void Rent()
    {
        if (Free == 0)
        {
            Rejections++;
            return;
        }
        Free--;
        Rents++;
    }

    public void Return() => Free++;
}
