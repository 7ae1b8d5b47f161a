"""Lesson 2: read a sequence of labels when nobody says which frame belongs to which label.

Five handwritten digits stand side by side on one strip. A recurrent network reads the strip
column by column and gives, at every step, a score for each digit and for the blank, "nothing new
here". Connectionist Temporal Classification (CTC) adds up all the ways to spread the five labels
over the steps, so that training needs the labels alone and no alignment.

    python seq_labelling.py
    python seq_labelling.py --cell LSTM --units 64 --epochs 4
"""
