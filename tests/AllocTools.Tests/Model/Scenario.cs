namespace AllocTools.Tests.Model;

/// <summary>A pool's options and the steps that are run on it.</summary>
internal sealed record Scenario(PoolShape Shape, IReadOnlyList<Step> Steps)
{
    public void Run()
    {
        using var model = new PoolModel(Shape);
        foreach (Step step in Steps)
            model.Do(step);
        model.Finish();
    }

    public override string ToString() => $"{Shape}\n  {string.Join("\n  ", Steps)}";
}
