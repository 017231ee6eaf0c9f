using OxyPlot;
using OxyPlot.Axes;
using OxyPlot.Series;

namespace AllocTools.Soak;

/// <summary>A picture of a run: a panel for each measure, with the values of each process and the fitted lines.</summary>
internal static class SoakPicture
{
    private const double Width = 960, PanelHeight = 130, Gap = 0.02;

    private static readonly OxyColor[] Colours = [OxyColor.Parse("#1f77b4"), OxyColor.Parse("#ff7f0e")];

    public static void Write(string path, SoakResult result)
    {
        int panels = Measure.All.Count;
        var model = new PlotModel
        {
            Title = $"{result.Settings.Fabric}: {string.Join(", ", result.Series.Select(static (s, i) => $"{s.Process} {(i == 0 ? "blue" : "orange")}"))}; grey: warm-up",
            TitleFontSize = 14,
            Background = OxyColors.White,
        };
        model.Axes.Add(new LinearAxis { Position = AxisPosition.Bottom, Title = "minutes", Minimum = 0 });
        for (int i = 0; i < panels; i++)
        {
            Measure measure = Measure.All[i];
            double top = 1 - (double)i / panels;
            model.Axes.Add(new LinearAxis
            {
                Key = measure.Name,
                Position = AxisPosition.Left,
                Title = measure.IsBytes ? $"{measure.Name}, MiB" : measure.Name,
                StartPosition = top - 1.0 / panels + Gap / 2,
                EndPosition = top - Gap / 2,
                MinimumPadding = 0.1,
                MaximumPadding = 0.1,
                Minimum = 0,
                MajorGridlineStyle = LineStyle.Solid,
                MajorGridlineColor = OxyColor.Parse("#eeeeee"),
                AxisTitleDistance = 8,
            });
            for (int s = 0; s < result.Series.Count; s++)
                Add(model, result, result.Series[s], measure, Colours[s % Colours.Length]);
        }
        using FileStream file = File.Create(path);
        new SvgExporter { Width = Width, Height = PanelHeight * panels }.Export(model, file);
    }

    private static void Add(PlotModel model, SoakResult result, Series series, Measure measure, OxyColor colour)
    {
        double unit = measure.IsBytes ? 1 << 20 : 1;
        var points = new ScatterSeries { YAxisKey = measure.Name, MarkerType = MarkerType.Circle, MarkerSize = 2, MarkerFill = colour };
        var warmUp = new ScatterSeries { YAxisKey = measure.Name, MarkerType = MarkerType.Circle, MarkerSize = 2, MarkerFill = OxyColors.LightGray };
        foreach (Sample sample in series.Samples)
            (sample.Time > result.Settings.WarmUp ? points : warmUp).Points.Add(new ScatterPoint(sample.Time.TotalMinutes, measure.Read(sample) / unit));
        model.Series.Add(warmUp);
        model.Series.Add(points);
        if (result.Verdicts.FirstOrDefault(v => v.Process == series.Process && v.Measure == measure) is not { } verdict)
            return;
        TimeSpan first = series.Samples.First(s => s.Time > result.Settings.WarmUp).Time;
        var line = new LineSeries { YAxisKey = measure.Name, Color = colour, StrokeThickness = 1 };
        line.Points.Add(new DataPoint(first.TotalMinutes, verdict.Trend.Start / unit));
        line.Points.Add(new DataPoint((first + verdict.Trend.Span).TotalMinutes, (verdict.Trend.Start + verdict.Trend.Growth) / unit));
        model.Series.Add(line);
    }
}
